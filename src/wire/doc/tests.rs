use proptest::prelude::*;

use super::*;
use crate::wire::build::DocBuf;

/// One element of every BSON type.
fn every_kind() -> Vec<u8> {
    let mut doc = DocBuf::new();
    doc.append_f64("double", 1.5)
        .append_str("string", "text")
        .append_doc_with("doc", |d| {
            d.append_i32("a", 1);
        })
        .append_array("array", |a| {
            a.push_i32(1).push_str("two");
        })
        .append_binary("binary", 4, b"0123456789abcdef")
        .append_value("undefined", kind::UNDEFINED, &[])
        .append_object_id("oid", [7; 12])
        .append_bool("bool", true)
        .append_date("date", -5)
        .append_null("null")
        .append_value("regex", kind::REGEX, b"^a\0i\0")
        .append_value("pointer", kind::DB_POINTER, b"\x02\0\0\0a\x00123456789abc")
        .append_value("code", kind::CODE, b"\x02\0\0\0f\0")
        .append_value("symbol", kind::SYMBOL, b"\x02\0\0\0s\0")
        .append_value(
            "scoped",
            kind::CODE_WITH_SCOPE,
            b"\x0f\0\0\0\x02\0\0\0f\0\x05\0\0\0\0",
        )
        .append_i32("int", -1)
        .append_timestamp("ts", (9 << 32) | 3)
        .append_i64("long", i64::MIN)
        .append_value("decimal", kind::DECIMAL128, &[0; 16])
        .append_value("min", kind::MIN_KEY, &[])
        .append_value("max", kind::MAX_KEY, &[]);
    doc.finish()
}

/// A document around raw elements, with the right length.
fn around(elements: &[u8]) -> Vec<u8> {
    let mut doc = DocBuf::new();
    doc.append_raw(elements);
    doc.finish()
}

fn first(doc: &[u8]) -> Element<'_> {
    elements(doc).next().unwrap().unwrap()
}

#[test]
fn every_type_is_walked_and_its_raw_bytes_make_the_document_again() {
    let doc = every_kind();
    let mut again = DocBuf::new();
    let mut count = 0;
    for element in elements(&doc) {
        let element = element.unwrap();
        assert!(element.raw.ends_with(element.value));
        again.append_raw(element.raw);
        count += 1;
    }
    assert_eq!(count, 21);
    assert_eq!(again.finish(), doc);
    assert_eq!(check_deep(&doc, 2), Ok(()));
}

#[test]
fn values_are_read_by_their_type() {
    let doc = every_kind();
    let get = |key| find(&doc, key).unwrap();
    assert_eq!(get("double").as_f64(), Some(1.5));
    assert_eq!(get("double").as_i64(), None);
    assert_eq!(get("string").as_str(), Some("text"));
    assert_eq!(get("code").as_str(), None);
    assert_eq!(
        find(get("doc").as_document().unwrap(), "a")
            .unwrap()
            .as_i32(),
        Some(1)
    );
    assert_eq!(get("doc").as_array(), None);
    let array = get("array").as_array().unwrap();
    assert_eq!(find(array, "1").unwrap().as_str(), Some("two"));
    assert_eq!(
        get("binary").as_binary(),
        Some((4, &b"0123456789abcdef"[..]))
    );
    assert_eq!(get("oid").as_object_id(), Some([7; 12]));
    assert_eq!(get("bool").as_bool(), Some(true));
    assert_eq!(get("date").as_date(), Some(-5));
    assert!(get("null").is_null() && get("undefined").is_null());
    assert_eq!(get("int").as_i64(), Some(-1));
    assert_eq!(get("int").as_timestamp(), None);
    assert_eq!(get("ts").as_timestamp(), Some((9 << 32) | 3));
    assert_eq!(get("long").as_i64(), Some(i64::MIN));
    assert_eq!(get("long").as_i32(), None);
    assert!(find(&doc, "absent").is_none());
}

#[test]
fn doubles_are_integers_only_if_they_are() {
    for (value, expected) in [
        (3.0, Some(3)),
        (-0.0, Some(0)),
        (3.5, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
        (-9_223_372_036_854_775_808.0, Some(i64::MIN)),
        (9_223_372_036_854_775_808.0, None),
    ] {
        let mut doc = DocBuf::new();
        doc.append_f64("v", value);
        assert_eq!(first(&doc.finish()).as_i64(), expected, "{value}");
    }
}

#[test]
fn truth_is_that_of_the_server() {
    let truthy = |kind, value: &[u8]| {
        let mut doc = DocBuf::new();
        doc.append_value("v", kind, value);
        first(&doc.finish()).is_truthy()
    };
    assert!(truthy(kind::BOOL, &[1]));
    assert!(!truthy(kind::BOOL, &[0]));
    assert!(truthy(kind::INT32, &7_i32.to_le_bytes()));
    assert!(!truthy(kind::INT64, &0_i64.to_le_bytes()));
    assert!(!truthy(kind::DOUBLE, &(-0.0_f64).to_le_bytes()));
    assert!(truthy(kind::DOUBLE, &f64::NAN.to_le_bytes()));
    assert!(!truthy(kind::NULL, &[]));
    assert!(!truthy(kind::STRING, b"\x02\0\0\0x\0"));
    let decimal = |text: &str| {
        let value: bson::Decimal128 = text.parse().unwrap();
        truthy(kind::DECIMAL128, &value.bytes())
    };
    for text in ["0", "-0.000", "0E+99"] {
        assert!(!decimal(text), "{text}");
    }
    for text in ["1", "-1E-300", "Infinity", "-Infinity", "NaN"] {
        assert!(decimal(text), "{text}");
    }
}

#[test]
fn a_wrong_length_prefix_is_refused() {
    let good = around(b"\x0aa\0");
    for length in [i32::MIN, -1, 0, 4, 7, 9, i32::MAX] {
        let mut doc = good.clone();
        doc[..4].copy_from_slice(&length.to_le_bytes());
        assert!(check(&doc).is_err(), "{length}");
        assert!(find(&doc, "a").is_none(), "{length}");
    }
    assert_eq!(check(&good), Ok(()));
    assert_eq!(check(&[]), Err(DocError::Truncated));
    assert_eq!(check(&[5, 0, 0]), Err(DocError::Truncated));
}

#[test]
fn a_missing_or_early_terminator_is_refused() {
    assert_eq!(check(&[5, 0, 0, 0, 1]), Err(DocError::Terminator));
    assert_eq!(check(&around(b"\x0aa\0\0\0")), Err(DocError::Terminator));
}

#[test]
fn broken_values_are_refused() {
    use DocError::{Key, Kind, Length, Terminator, Truncated, Value};
    for (element, error) in [
        (&b"\x10a\0\0\0"[..], Truncated),
        (b"\x10a", Truncated),
        (b"\x10\xff\0\0\0\0\0", Key),
        (b"\x14a\0", Kind(0x14)),
        (b"\x02a\0\0\0\0\0\0", Value(kind::STRING)),
        (b"\x02a\0\xff\xff\xff\xff\0", Value(kind::STRING)),
        (b"\x02a\0\x02\0\0\0xy", Value(kind::STRING)),
        (b"\x02a\0\xff\xff\xff\x7fx\0", Truncated),
        (b"\x05a\0\xff\xff\xff\xff\0", Value(kind::BINARY)),
        (b"\x05a\0\xff\xff\xff\x7f\0", Truncated),
        (b"\x0ba\0abc\0i", Truncated),
        (b"\x03a\0\x04\0\0\0\0", Length(4)),
        (b"\x03a\0\x05\0\0\0\x01", Terminator),
        (b"\x04a\0\x09\0\0\0\0", Truncated),
        (b"\x0fa\0\x0f\0\0\0\x01\0\0\0\0\x05\0\0\0\0", Truncated),
        (
            b"\x0fa\0\x0d\0\0\0\x01\0\0\0\0\x05\0\0\0\0",
            Value(kind::CODE_WITH_SCOPE),
        ),
        (
            b"\x0fa\0\x10\0\0\0\x01\0\0\0\0\x05\0\0\0\0\0\0",
            Value(kind::CODE_WITH_SCOPE),
        ),
    ] {
        assert_eq!(check(&around(element)), Err(error), "{element:?}");
    }
}

#[test]
fn walking_ends_after_an_error() {
    let doc = around(b"\x0aa\0\x14b\0\x0ac\0");
    let mut walk = elements(&doc);
    assert_eq!(walk.next().unwrap().unwrap().key, "a");
    assert_eq!(walk.next(), Some(Err(DocError::Kind(0x14))));
    assert_eq!(walk.next(), None);
    assert_eq!(walk.next(), None);
    assert!(find(&doc, "a").is_some());
    assert!(find(&doc, "c").is_none());
}

#[test]
fn text_that_is_not_utf8_is_kept_and_not_read() {
    let doc = around(b"\x02a\0\x02\0\0\0\xff\0");
    assert_eq!(check(&doc), Ok(()));
    assert_eq!(first(&doc).as_str(), None);
}

#[test]
fn nesting_is_bounded_even_if_the_caller_does_not_bound_it() {
    let mut doc = around(b"");
    for level in 2..=MAX_DEPTH + 1 {
        let mut outer = DocBuf::new();
        outer.append_doc("d", &doc);
        doc = outer.finish();
        let expected = if level > MAX_DEPTH {
            Err(DocError::Depth(MAX_DEPTH))
        } else {
            Ok(())
        };
        assert_eq!(check_deep(&doc, usize::MAX), expected, "{level}");
    }
    assert_eq!(check_deep(&doc, 3), Err(DocError::Depth(3)));
    assert_eq!(check_deep(&doc, 0), Err(DocError::Depth(0)));
    assert_eq!(check(&doc), Ok(()));
}

#[test]
fn a_broken_scope_is_found_by_a_deep_check() {
    let doc = around(b"\x0fa\0\x11\0\0\0\x01\0\0\0\0\x08\0\0\0\x14a\0\0");
    assert_eq!(check(&doc), Ok(()));
    assert_eq!(check_deep(&doc, 9), Err(DocError::Kind(0x14)));
}

#[test]
fn documents_in_a_row_are_split() {
    let one = around(b"\x0aa\0");
    let two = around(b"");
    let row = [&one[..], &two[..], &one[..]].concat();
    let split: Vec<_> = documents(&row).map(Result::unwrap).collect();
    assert_eq!(split, [&one[..], &two[..], &one[..]]);
    let mut cut = documents(&row[..row.len() - 1]).skip(2);
    assert_eq!(cut.next(), Some(Err(DocError::Truncated)));
    assert_eq!(cut.next(), None);
}

proptest! {
    #[test]
    fn what_another_encoder_wrote_is_read_the_same(
        fields in proptest::collection::vec(
            ("[a-z]{1,6}", prop_oneof![
                any::<i32>().prop_map(bson::Bson::Int32),
                any::<i64>().prop_map(bson::Bson::Int64),
                any::<f64>().prop_map(bson::Bson::Double),
                any::<bool>().prop_map(bson::Bson::Boolean),
                ".{0,12}".prop_map(bson::Bson::String),
                Just(bson::Bson::Null),
            ]),
            0..8,
        )
    ) {
        let mut doc = bson::Document::new();
        for (key, value) in fields {
            doc.insert(key, value);
        }
        let raw = doc.to_vec().unwrap();
        prop_assert_eq!(check_deep(&raw, 1), Ok(()));
        let mut expected = doc.iter();
        for element in elements(&raw) {
            let element = element.unwrap();
            let (key, value) = expected.next().unwrap();
            prop_assert_eq!(element.key, key);
            match value {
                bson::Bson::Int32(v) => prop_assert_eq!(element.as_i32(), Some(*v)),
                bson::Bson::Int64(v) => prop_assert_eq!(element.as_i64(), Some(*v)),
                bson::Bson::Double(v) => {
                    prop_assert_eq!(element.as_f64().map(f64::to_bits), Some(v.to_bits()));
                }
                bson::Bson::Boolean(v) => prop_assert_eq!(element.as_bool(), Some(*v)),
                bson::Bson::String(v) => prop_assert_eq!(element.as_str(), Some(v.as_str())),
                _ => prop_assert!(element.is_null()),
            }
        }
        prop_assert!(expected.next().is_none());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = check_deep(&bytes, 9);
        let _ = check_deep(&around(&bytes), 9);
        prop_assert!(documents(&bytes).count() <= bytes.len());
    }
}
