//! Every BSON type in and out, extreme values, depth and size.

use bson::oid::ObjectId;
use bson::raw::cstr;
use bson::spec::BinarySubtype;
use bson::{
    Binary, Bson, DateTime, DbPointer, Decimal128, Document, JavaScriptCodeWithScope, Regex,
    Timestamp, doc,
};

use super::{Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        once("insert_every_type", |_| {
            doc! { "insert": "types", "documents": every_type() }
        }),
        read("find_every_type", |_| {
            doc! { "find": "types", "sort": { "_id": 1 } }
        }),
        read("sort_across_types", |_| {
            doc! { "find": "types", "sort": { "v": 1, "_id": 1 }, "projection": { "v": 1 } }
        }),
        read("find_decimal", |_| {
            doc! { "find": "types", "filter": { "v": decimal("1.50") } }
        }),
        read("find_decimal_range", |_| {
            doc! { "find": "types", "filter": { "v": { "$gte": decimal("1"), "$lt": decimal("1E+3") } } }
        }),
        read("find_date", |_| {
            doc! { "find": "types", "filter": { "v": { "$lt": DateTime::from_millis(0) } } }
        }),
        read("find_object_id", |_| {
            doc! { "find": "types", "filter": { "v": object_id() } }
        }),
        read(
            "find_nan",
            |_| doc! { "find": "types", "filter": { "v": f64::NAN } },
        ),
        read(
            "find_minus_zero",
            |_| doc! { "find": "types", "filter": { "v": -0.0 } },
        ),
        read(
            "find_min_key",
            |_| doc! { "find": "types", "filter": { "v": Bson::MinKey } },
        ),
        read("find_above_min_key", |_| {
            doc! { "find": "types", "filter": { "v": { "$gt": Bson::MinKey, "$lt": Bson::MaxKey } }, "sort": { "_id": 1 } }
        }),
        read(
            "find_max_key",
            |_| doc! { "find": "types", "filter": { "v": Bson::MaxKey } },
        ),
        read("find_binary", |_| {
            let bytes = vec![0, 255, 1];
            let v = Binary {
                subtype: BinarySubtype::Generic,
                bytes,
            };
            doc! { "find": "types", "filter": { "v": v } }
        }),
        read("find_by_type_number", |_| {
            doc! { "find": "types", "filter": { "v": { "$type": [9, 17, 19] } }, "sort": { "_id": 1 } }
        }),
        once("insert_nested_deeply", |_| {
            doc! { "insert": "deep", "documents": [{ "_id": 90, "v": nested(90) }] }
        }),
        read(
            "find_nested_deeply",
            |_| doc! { "find": "deep", "filter": { "_id": 90 } },
        ),
        once("insert_nested_at_the_limit", |_| {
            doc! { "insert": "deep", "documents": [{ "_id": 178, "v": nested(176) }] }
        }),
        once("insert_nested_too_deeply", |_| {
            doc! { "insert": "deep", "documents": [{ "_id": 250, "v": nested(250) }] }
        }),
        once("insert_document_of_15_mib", |_| {
            doc! { "insert": "big", "documents": [{ "_id": 15, "v": "x".repeat(15 << 20) }] }
        }),
        read("find_size_of_15_mib", |_| {
            doc! { "find": "big", "projection": { "length": { "$strLenBytes": "$v" } } }
        }),
        once("insert_document_over_16_mib", |_| doc! { "insert": "big" }).with("documents", |_| {
            vec![doc! { "_id": 17, "v": "x".repeat((16 << 20) + 4096) }]
        }),
        once("grow_document_over_16_mib", |_| {
            doc! { "update": "big", "updates": [{ "q": { "_id": 15 }, "u": { "$set": { "w": "x".repeat(2 << 20) } } }] }
        }),
        once("drop_big", |_| doc! { "drop": "big" }),
        once("insert_unusual_names", |_| {
            doc! { "insert": "names", "documents": [{ "_id": 1, "": "empty", " ": "space", "ключ": "ü\u{0}\u{1F600}",
            "a b": 1, "0": "zero", "__proto__": 1, "constructor": 2 }] }
        }),
        read(
            "find_unusual_names",
            |_| doc! { "find": "names", "filter": { "ключ": { "$exists": true } } },
        ),
        read(
            "find_empty_name",
            |_| doc! { "find": "names", "filter": { "": "empty" } },
        ),
    ]
}

fn every_type() -> Vec<Document> {
    let binary = |subtype, bytes: &[u8]| {
        let bytes = bytes.to_vec();
        Bson::Binary(Binary { subtype, bytes })
    };
    let values: Vec<Bson> = vec![
        1.into(),
        1_i64.into(),
        1.0.into(),
        i32::MIN.into(),
        i32::MAX.into(),
        i64::MIN.into(),
        i64::MAX.into(),
        f64::MAX.into(),
        f64::MIN_POSITIVE.into(),
        f64::INFINITY.into(),
        f64::NEG_INFINITY.into(),
        f64::NAN.into(),
        (-0.0).into(),
        decimal("1.50"),
        decimal("9.999999999999999999999999999999999E+6144"),
        decimal("-0E-6176"),
        decimal("NaN"),
        decimal("Infinity"),
        "text".into(),
        "".into(),
        "with\u{0}nul and \u{10FFFF}".into(),
        true.into(),
        false.into(),
        Bson::Null,
        Bson::Undefined,
        Bson::MinKey,
        Bson::MaxKey,
        object_id().into(),
        DateTime::from_millis(-1).into(),
        DateTime::from_millis(1_700_000_000_123).into(),
        DateTime::from_millis(i64::MAX).into(),
        Timestamp {
            time: 7,
            increment: 3,
        }
        .into(),
        Regex {
            pattern: cstr!("^a.*z$").into(),
            options: cstr!("im").into(),
        }
        .into(),
        Bson::JavaScriptCode("function() { return 1; }".into()),
        Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
            code: "return x;".into(),
            scope: doc! { "x": 1 },
        }),
        Bson::Symbol("symbol".into()),
        binary(BinarySubtype::Generic, &[0, 255, 1]),
        binary(BinarySubtype::Generic, &[]),
        binary(BinarySubtype::BinaryOld, &[1, 2]),
        binary(BinarySubtype::Uuid, &[7; 16]),
        binary(BinarySubtype::UuidOld, &[8; 16]),
        binary(BinarySubtype::Md5, &[9; 16]),
        binary(BinarySubtype::UserDefined(0x80), b"user"),
        Bson::DbPointer(db_pointer()),
        Bson::Document(doc! {}),
        Bson::Array(vec![]),
        Bson::Document(doc! { "b": 1, "a": [1, [2, [3]], { "c": null }] }),
    ];
    let number = |(n, v)| doc! { "_id": n as i32, "v": v };
    values.into_iter().enumerate().map(number).collect()
}

/// `DbPointer` has no constructor, but it can be read.
fn db_pointer() -> DbPointer {
    let mut bytes = 34_i32.to_le_bytes().to_vec();
    bytes.extend(b"\x0cv\0");
    bytes.extend(10_i32.to_le_bytes());
    bytes.extend(b"db.people\0");
    bytes.extend(object_id().bytes());
    bytes.push(0);
    match Document::from_reader(bytes.as_slice()) {
        Ok(document) => match document.get("v") {
            Some(Bson::DbPointer(pointer)) => pointer.clone(),
            other => panic!("no pointer but {other:?}"),
        },
        Err(error) => panic!("{error}"),
    }
}

fn object_id() -> ObjectId {
    ObjectId::from_bytes([
        0x65, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 0x07, 0x18, 0x29, 0x3a, 0x4b,
    ])
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().expect("a decimal"))
}

fn nested(levels: usize) -> Bson {
    (0..levels).fold(Bson::Int32(1), |inner, level| match level % 2 {
        0 => Bson::Document(doc! { "v": inner }),
        _ => Bson::Array(vec![inner]),
    })
}
