//! Documents and statements for which no server refuses more than themselves.
//!
//! A server reports most faults of a document for that document alone. But it refuses the whole command for a document
//! that is nested too deeply or too large, for a value that no server reads (a boolean that is neither true nor false, an
//! unknown type), and for an update by a pipeline that it can't read (tried on 6.0.5). Such a command goes alone. So
//! does, well below the limits, what servers of different releases treat differently: names that are empty or hold `$`
//! or `.`, an `_id` that is there twice or of a type that it can't have.

use crate::wire::doc::{self, Field, kind};

/// Whether a document can be inserted beside others.
pub(super) fn is_harmless_document(document: &[u8]) -> bool {
    let mut ids = 0;
    let is_fit = document.len() <= LARGEST
        && all(document, |field| {
            let is_id = field.key() == b"_id";
            ids += usize::from(is_id);
            let may_be_id = !matches!(field.kind(), kind::ARRAY | kind::REGEX | kind::UNDEFINED);
            (!is_id || may_be_id) && is_plain(field.key()) && is_harmless(&field, DEEPEST, true)
        });
    is_fit && ids <= 1
}

/// Whether a statement can be sent beside others.
pub(super) fn is_harmless_statement(statement: &[u8]) -> bool {
    statement.len() <= LARGEST
        && all(statement, |field| {
            let fits = match (field.key(), field.kind()) {
                (b"u", kind::ARRAY) => all(field.value(), |stage| is_stage(&stage)),
                (b"arrayFilters", kind::ARRAY) => {
                    all(field.value(), |filter| filter.kind() == kind::DOCUMENT)
                }
                _ => true,
            };
            fits && is_harmless(&field, DEEPEST, false)
        })
}

/// Whether an element of a pipeline is one of the stages that updates have.
fn is_stage(stage: &Field<'_>) -> bool {
    let mut names = 0;
    let is_known = stage.kind() == kind::DOCUMENT
        && all(stage.value(), |field| {
            names += 1;
            STAGES.contains(&field.key())
        });
    is_known && names == 1
}

/// Whether a value can be read everywhere. `names`: and its fields have plain names.
fn is_harmless(field: &Field<'_>, levels: usize, names: bool) -> bool {
    match field.kind() {
        kind::BOOL => matches!(field.value(), [0 | 1]),
        kind::DOCUMENT | kind::ARRAY => {
            let Some(below) = levels.checked_sub(1) else {
                return false;
            };
            all(field.value(), |inner| {
                let is_named = !names || is_plain(inner.key()) || REFERENCE.contains(&inner.key());
                is_named && is_harmless(&inner, below, names)
            })
        }
        kind::CODE_WITH_SCOPE => false,
        _ => true,
    }
}

/// Whether the name is one that every server stores.
fn is_plain(name: &[u8]) -> bool {
    name.first().is_some_and(|&first| first != b'$') && !name.contains(&b'.')
}

/// Whether all fields are so, and the document can be read.
fn all<'a>(document: &'a [u8], mut holds: impl FnMut(Field<'a>) -> bool) -> bool {
    doc::fields(document)
        .show(|field| holds(field).then_some(()))
        .is_some()
}

/// Bytes. (A server takes 16 MiB, and a little more in a command.)
const LARGEST: usize = 8 << 20;
/// Levels below the first. (A server stores 180 and reads 200, and a batch puts a statement two or three deeper.)
const DEEPEST: usize = 100;
/// The fields of a DBRef.
const REFERENCE: [&[u8]; 3] = [b"$ref", b"$id", b"$db"];
/// What the pipeline of an update may have.
const STAGES: [&[u8]; 6] = [
    b"$addFields",
    b"$project",
    b"$replaceRoot",
    b"$replaceWith",
    b"$set",
    b"$unset",
];

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc};

    use super::*;

    fn nested(levels: usize) -> Document {
        (0..levels).fold(doc! {"x": 1}, |inner, _| doc! {"a": inner})
    }

    fn document(document: Document) -> bool {
        is_harmless_document(&document.to_vec().unwrap())
    }

    fn update(u: impl Into<Bson>) -> bool {
        let statement = doc! {"q": {"_id": 1}, "u": u.into()};
        is_harmless_statement(&statement.to_vec().unwrap())
    }

    #[test]
    fn ordinary_documents_are_harmless() {
        let reference = doc! {"$ref": "c", "$id": 1, "$db": "d"};
        for ordinary in [
            doc! {"_id": 1, "a": [1, {"b": true}], "c": null},
            doc! {"_id": {"a": 1, "b": [2]}, "by": reference},
            doc! {"a": nested(50)},
            doc! {"a": {"_id": [1]}},
            doc! {},
        ] {
            assert!(document(ordinary.clone()), "{ordinary}");
        }
    }

    #[test]
    fn what_a_server_may_refuse_a_command_for_is_not() {
        let regex = bson::Regex {
            pattern: "a".try_into().unwrap(),
            options: "".try_into().unwrap(),
        };
        for odd in [
            doc! {"_id": [1]},
            doc! {"_id": Bson::RegularExpression(regex)},
            doc! {"_id": Bson::Undefined},
            doc! {"_id": {"$a": 1}},
            doc! {"$a": 1},
            doc! {"$ref": 1},
            doc! {"a.b": 1},
            doc! {"": 1},
            doc! {"a": {"b": [{"$c": 1}]}},
            doc! {"a": nested(120)},
            doc! {"a": "x".repeat(LARGEST)},
            doc! {"a": Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
                code: "x".into(), scope: doc! {},
            })},
        ] {
            assert!(!document(odd.clone()), "{:.100}", odd.to_string());
        }
        let mut maybe = doc! {"a": {"b": true}}.to_vec().unwrap();
        assert!(is_harmless_document(&maybe));
        let at = maybe.len() - 3;
        maybe[at] = 2;
        assert!(!is_harmless_document(&maybe), "neither true nor false");
        let mut twice = doc! {"_id": 1, "_ix": 1}.to_vec().unwrap();
        let at = twice.windows(3).position(|w| w == b"_ix").unwrap();
        twice[at + 2] = b'd';
        assert!(!is_harmless_document(&twice));
        let mut cut_short = doc! {"a": {"b": 1}}.to_vec().unwrap();
        cut_short[7] += 1;
        assert!(!is_harmless_document(&cut_short));
    }

    #[test]
    fn statements_may_have_operators_but_no_pipelines_that_cannot_be_read() {
        assert!(update(doc! {"$set": {"a.b": 1, "c.$[x]": 2}}));
        assert!(update(bson::bson!([{"$set": {"a": 1}}, {"$unset": "b"}])));
        assert!(!update(bson::bson!([1])));
        assert!(!update(bson::bson!([{"$foo": 1}])));
        assert!(!update(bson::bson!([{"$set": {"a": 1}, "$unset": "b"}])));
        assert!(!update(doc! {"$set": {"a": nested(120)}}));
        let filters = doc! {"q": {"_id": 1}, "u": {"a": 1}, "arrayFilters": [1]};
        assert!(!is_harmless_statement(&filters.to_vec().unwrap()));
    }
}
