use bson::spec::BinarySubtype;
use bson::{Bson, DateTime, Document, Timestamp, doc, oid::ObjectId};

use super::*;
use crate::wire::doc::find;

fn with<T>(a: Bson, b: Bson, f: impl Fn(&Element<'_>, &Element<'_>) -> T) -> T {
    let document: Document = doc! {"a": a, "b": b};
    let bytes = document.to_vec().unwrap();
    f(&find(&bytes, "a").unwrap(), &find(&bytes, "b").unwrap())
}

fn are_equal(a: impl Into<Bson>, b: impl Into<Bson>, strings: Strings) -> Tri {
    with(a.into(), b.into(), |a, b| equal(a, b, strings))
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}

fn binary(subtype: u8, bytes: &[u8]) -> Bson {
    Bson::Binary(bson::Binary {
        subtype: BinarySubtype::from(subtype),
        bytes: bytes.to_vec(),
    })
}

#[test]
fn three_valued_logic_knows_what_one_side_decides() {
    use Tri::{No, Unknown, Yes};
    assert_eq!(No.and(Unknown), No);
    assert_eq!(Yes.and(Unknown), Unknown);
    assert_eq!(Yes.or(Unknown), Yes);
    assert_eq!(No.or(Unknown), Unknown);
    assert_eq!(!Unknown, Unknown);
}

#[test]
fn numbers_are_equal_across_types_and_documents_field_by_field() {
    let same = |a: Bson, b: Bson| {
        assert_eq!(
            are_equal(a.clone(), b.clone(), Strings::Simple),
            Tri::Yes,
            "{a} {b}"
        );
    };
    same(5.into(), 5.0.into());
    same(5_i64.into(), decimal("5.0"));
    same(f64::NAN.into(), decimal("NaN"));
    same(
        doc! {"a": [1, {"b": 2}]}.into(),
        doc! {"a": [1.0, {"b": 2_i64}]}.into(),
    );
    let differ = |a: Bson, b: Bson| {
        assert_eq!(
            are_equal(a.clone(), b.clone(), Strings::Simple),
            Tri::No,
            "{a} {b}"
        );
    };
    differ(5.into(), "5".into());
    differ(f64::NAN.into(), 0.into());
    differ(0.1.into(), decimal("0.1"));
    differ(doc! {"a": 1, "b": 1}.into(), doc! {"b": 1, "a": 1}.into());
    differ(doc! {"a": 1}.into(), doc! {"a": 1, "b": 1}.into());
    differ(Bson::Array(vec![1.into()]), Bson::Array(vec![]));
    differ(binary(0, b"x"), binary(4, b"x"));
    differ(true.into(), 1.into());
    differ(
        DateTime::from_millis(0).into(),
        Timestamp {
            time: 0,
            increment: 0,
        }
        .into(),
    );
}

#[test]
fn under_a_collation_only_identical_strings_are_certain() {
    assert_eq!(are_equal("a", "a", Strings::Collated), Tri::Yes);
    assert_eq!(are_equal("a", "A", Strings::Collated), Tri::Unknown);
    assert_eq!(are_equal("a", "A", Strings::Simple), Tri::No);
    assert_eq!(are_equal("a", 1, Strings::Collated), Tri::No);
    let (a, b) = (doc! {"x": "a", "y": 1}, doc! {"x": "A", "y": 2});
    assert_eq!(are_equal(a, b, Strings::Collated), Tri::No);
}

#[test]
fn undefined_is_never_certain() {
    assert_eq!(
        are_equal(Bson::Undefined, Bson::Null, Strings::Simple),
        Tri::Unknown
    );
    assert_eq!(are_equal(1, Bson::Undefined, Strings::Simple), Tri::Unknown);
}

#[test]
fn values_order_within_their_type_only() {
    let order = |a: Bson, b: Bson, strings| {
        with(a, b, |a, b| match compare(a, b, strings) {
            Bounded::Order(order) => Some(Ok(order)),
            Bounded::Apart => Some(Err(())),
            Bounded::Unknown => None,
        })
    };
    let simple = |a: Bson, b: Bson| order(a, b, Strings::Simple);
    assert_eq!(simple("ab".into(), "b".into()), Some(Ok(Ordering::Less)));
    assert_eq!(simple("ab".into(), "a".into()), Some(Ok(Ordering::Greater)));
    assert_eq!(simple(5.into(), "5".into()), Some(Err(())));
    assert_eq!(simple(f64::NAN.into(), 5.into()), Some(Err(())));
    assert_eq!(
        simple(f64::NAN.into(), decimal("NaN")),
        Some(Ok(Ordering::Equal))
    );
    assert_eq!(
        simple(true.into(), false.into()),
        Some(Ok(Ordering::Greater))
    );
    assert_eq!(
        simple(binary(9, b"b"), binary(1, b"aa")),
        Some(Ok(Ordering::Less))
    );
    assert_eq!(
        simple(
            DateTime::from_millis(-1).into(),
            DateTime::from_millis(1).into()
        ),
        Some(Ok(Ordering::Less))
    );
    assert_eq!(simple(5.into(), Bson::Null), None);
    assert_eq!(simple(5.into(), Bson::MaxKey), None);
    assert_eq!(order("a".into(), "b".into(), Strings::Collated), None);
}

#[test]
fn keys_are_equal_exactly_when_the_values_are() {
    let key = |v: &Bson| {
        with(v.clone(), Bson::Null, |a, _| {
            ValueKey::of(a, Strings::Simple)
        })
    };
    let keyed: Vec<Bson> = vec![
        5.into(),
        5_i64.into(),
        5.0.into(),
        decimal("5.00"),
        1.5.into(),
        decimal("1.5"),
        "5".into(),
        "".into(),
        ObjectId::from_bytes([1; 12]).into(),
        binary(0, b"5"),
        binary(4, b"5"),
        true.into(),
        false.into(),
        DateTime::from_millis(5).into(),
        Timestamp {
            time: 0,
            increment: 5,
        }
        .into(),
    ];
    for a in &keyed {
        for b in &keyed {
            let same = are_equal(a.clone(), b.clone(), Strings::Simple) == Tri::Yes;
            assert_eq!(key(a).unwrap() == key(b).unwrap(), same, "{a} {b}");
        }
    }
    let regex = bson::Regex {
        pattern: "a".try_into().unwrap(),
        options: "".try_into().unwrap(),
    };
    for none in [
        Bson::Null,
        Bson::Undefined,
        Bson::Array(vec![]),
        doc! {}.into(),
        regex.into(),
        f64::NAN.into(),
        (1_i64 << 53).into(),
        1e300.into(),
        decimal("0.1"),
        Bson::MinKey,
    ] {
        assert_eq!(key(&none), None, "{none}");
    }
    let collated = with("a".into(), Bson::Null, |a, _| {
        ValueKey::of(a, Strings::Collated)
    });
    assert_eq!(collated, None);
}
