//! Which documents a read or a write is confined to, by `_id`.
//!
//! A filter with a top-level equality on `_id` can match only documents with that `_id`, whatever
//! else it asks for; `_id` is never an array, and no update can change it. So a write confined to
//! some `_id`s can't change the answer of a read confined to another, and neither can an insert of
//! documents whose `_id`s are given.
//!
//! Equality here must be the server's own: numbers of different types are equal by value; strings
//! are equal only byte for byte where no collation is at work (the reader's side checks the
//! collection's, this side the command's). Whatever isn't sure is `None`: not confined.

use super::{Command, Kind};
use crate::wire::doc::{self, Element, kind};
use crate::wire::op_msg::OpMsg;

/// An `_id` in a form that is equal exactly when the server finds it equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DocumentId(Vec<u8>);

impl DocumentId {
    /// From an `_id` value; `None` for types whose equality isn't that simple.
    fn of(value: &Element<'_>) -> Option<DocumentId> {
        let (tag, bytes) = match value.kind {
            kind::INT32 | kind::INT64 | kind::DOUBLE => {
                let number = value.as_i64()?;
                // Beyond this, doubles aren't exact, and two of them may compare equal.
                (number.unsigned_abs() < EXACT).then_some(())?;
                (b'n', number.to_le_bytes().to_vec())
            }
            kind::STRING => (b's', value.as_str()?.as_bytes().to_vec()),
            kind::OBJECT_ID => (b'o', value.value.to_vec()),
            kind::BINARY => (b'b', value.value.to_vec()),
            _ => return None,
        };
        Some(DocumentId([&[tag], bytes.as_slice()].concat()))
    }

    fn is_string(&self) -> bool {
        self.0.first() == Some(&b's')
    }

    /// The bytes, for hashing.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The one `_id` that a `find` is confined to.
pub fn read_by_id(command: &Command) -> Option<DocumentId> {
    let filter = doc::find(command.body(), "filter")?.as_document()?;
    let mut ids = Vec::new();
    confined(filter, &mut ids)?;
    let collated = doc::find(command.body(), "collation").is_some();
    match ids.pop() {
        Some(id) if ids.is_empty() && !(collated && id.is_string()) => Some(id),
        _ => None,
    }
}

/// The `_id`s that an insert, update, delete or findAndModify is confined to.
pub(super) fn written_by_id(command: &Command, msg: &OpMsg) -> Option<Vec<DocumentId>> {
    let mut ids = Vec::new();
    match command.kind {
        Kind::Insert => each(command, msg, "documents", |document| {
            ids.push(DocumentId::of(&doc::find(document, "_id")?)?);
            (ids.len() <= MOST).then_some(())
        })?,
        Kind::Update => each(command, msg, "updates", |s| {
            statement(s, "q", "u", &mut ids)
        })?,
        Kind::Delete => each(command, msg, "deletes", |s| statement(s, "q", "", &mut ids))?,
        Kind::FindAndModify => statement(command.body(), "query", "update", &mut ids)?,
        _ => return None,
    }
    (!ids.is_empty()).then_some(ids)
}

/// Runs `take` on every document of a field that may come in the body or as a sequence.
fn each(
    command: &Command,
    msg: &OpMsg,
    field: &str,
    mut take: impl FnMut(&[u8]) -> Option<()>,
) -> Option<()> {
    if let Some(list) = doc::find(command.body(), field) {
        for item in doc::elements(list.as_array()?) {
            take(item.ok()?.as_document()?)?;
        }
    }
    for sequence in msg.sequences.iter().filter(|s| &*s.identifier == field) {
        for item in sequence.iter() {
            take(item.ok()?)?;
        }
    }
    Some(())
}

/// One update, delete or findAndModify.
fn statement(
    statement: &[u8],
    filter: &str,
    update: &str,
    ids: &mut Vec<DocumentId>,
) -> Option<()> {
    let before = ids.len();
    confined(doc::find(statement, filter)?.as_document()?, ids)?;
    let added = ids.get(before..).unwrap_or_default();
    if doc::find(statement, "collation").is_some() && added.iter().any(DocumentId::is_string) {
        return None;
    }
    if doc::find(statement, "upsert").is_some_and(|u| u.is_truthy()) {
        // Only an equality passes its `_id` on to the new document, and only operators and
        // replacements can't give it another.
        let by_pipeline = doc::find(statement, update).is_none_or(|u| u.as_document().is_none());
        if by_pipeline || added.len() != 1 || is_list(statement, filter) {
            return None;
        }
    }
    (ids.len() <= MOST).then_some(())
}

fn is_list(statement: &[u8], filter: &str) -> bool {
    let filter = doc::find(statement, filter).and_then(|f| f.as_document());
    let id = filter
        .and_then(|f| doc::find(f, "_id"))
        .and_then(|id| id.as_document());
    id.is_some_and(|id| doc::find(id, "$in").is_some())
}

/// The `_id`s that a filter allows: of `_id: value`, `{$eq: value}` or `{$in: [values]}`.
fn confined(filter: &[u8], ids: &mut Vec<DocumentId>) -> Option<()> {
    let id = doc::find(filter, "_id")?;
    let Some(operators) = id.as_document() else {
        ids.push(DocumentId::of(&id)?);
        return Some(());
    };
    let mut operators = doc::elements(operators);
    let only = operators.next()?.ok()?;
    if operators.next().is_some() {
        return None;
    }
    match only.key {
        "$eq" => ids.push(DocumentId::of(&only)?),
        "$in" => {
            for value in doc::elements(only.as_array()?) {
                ids.push(DocumentId::of(&value.ok()?)?);
            }
        }
        _ => return None,
    }
    Some(())
}

/// A write to more documents than this is treated as one to the whole collection.
const MOST: usize = 64;

/// 2^53: where doubles stop telling integers apart.
const EXACT: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc, oid::ObjectId};
    use bytes::Bytes;

    use super::*;

    fn parts(document: Document) -> (Command, OpMsg) {
        let body = Bytes::from(document.to_vec().unwrap());
        let bytes = crate::wire::build::op_msg(1, 0, 0, &body);
        let msg = OpMsg::parse(&crate::wire::Frame { bytes }).unwrap();
        (Command::parse(&msg).unwrap(), msg)
    }

    fn read(filter: Document) -> Option<DocumentId> {
        read_by_id(&parts(doc! {"find": "c", "filter": filter, "$db": "d"}).0)
    }

    fn written(document: Document) -> Option<usize> {
        let (command, msg) = parts(document);
        written_by_id(&command, &msg).map(|ids| ids.len())
    }

    fn update(statement: Document) -> Option<usize> {
        written(doc! {"update": "c", "updates": [statement], "$db": "d"})
    }

    #[test]
    fn numbers_are_equal_by_value_and_other_types_are_not() {
        let five = read(doc! {"_id": 5});
        assert!(five.is_some());
        assert_eq!(five, read(doc! {"_id": 5_i64}));
        assert_eq!(five, read(doc! {"_id": 5.0}));
        assert_eq!(five, read(doc! {"_id": {"$eq": 5}, "a": 1}));
        assert_ne!(five, read(doc! {"_id": "5"}));
        assert_ne!(five, read(doc! {"_id": 6}));
        let id = ObjectId::new();
        assert_eq!(read(doc! {"_id": id}), read(doc! {"_id": id}));
    }

    #[test]
    fn what_is_not_an_equality_on_a_simple_value_is_not_confined() {
        let decimal = Bson::Decimal128("5".parse().unwrap());
        for filter in [
            doc! {},
            doc! {"a": 5},
            doc! {"_id": {"$gt": 5}},
            doc! {"_id": {"$ne": 5}},
            doc! {"_id": {"$in": [1, 2]}},
            doc! {"_id": {"$eq": 5, "$gt": 1}},
            doc! {"_id": {"a": 1}},
            doc! {"_id": Bson::Null},
            doc! {"_id": decimal},
            doc! {"_id": 1_i64 << 60},
            doc! {"_id": 5.5},
            doc! {"$or": [{"_id": 5}]},
            doc! {"_id": true},
            doc! {"_id": [5]},
            doc! {"_id": Bson::RegularExpression(bson::Regex { pattern: "a".try_into().unwrap(), options: "".try_into().unwrap() })},
        ] {
            assert_eq!(read(filter.clone()), None, "{filter}");
        }
    }

    #[test]
    fn strings_under_a_collation_are_not_confined() {
        let collation = doc! {"locale": "en", "strength": 2};
        let find = |id: Bson| {
            parts(doc! {"find": "c", "filter": {"_id": id}, "collation": &collation, "$db": "d"}).0
        };
        assert_eq!(read_by_id(&find("a".into())), None);
        assert!(read_by_id(&find(5.into())).is_some());
        assert_eq!(
            update(doc! {"q": {"_id": "a"}, "u": {"$inc": {"n": 1}}, "collation": &collation}),
            None
        );
        assert_eq!(
            update(doc! {"q": {"_id": 5}, "u": {"$inc": {"n": 1}}, "collation": &collation}),
            Some(1)
        );
    }

    #[test]
    fn writes_are_confined_when_every_statement_is() {
        let inc = doc! {"$inc": {"n": 1}};
        assert_eq!(
            update(doc! {"q": {"_id": 5, "n": {"$gt": 1}}, "u": &inc}),
            Some(1)
        );
        assert_eq!(
            update(doc! {"q": {"_id": {"$in": [1, 2]}}, "u": &inc, "multi": true}),
            Some(2)
        );
        assert_eq!(update(doc! {"q": {"n": 5}, "u": &inc}), None);
        let two = doc! {"update": "c", "updates": [{"q": {"_id": 1}, "u": &inc}, {"q": {}, "u": &inc}], "$db": "d"};
        assert_eq!(written(two), None);
        assert_eq!(
            written(doc! {"delete": "c", "deletes": [{"q": {"_id": 1}, "limit": 1}], "$db": "d"}),
            Some(1)
        );
        assert_eq!(
            written(doc! {"findAndModify": "c", "query": {"_id": 1}, "remove": true, "$db": "d"}),
            Some(1)
        );
        assert_eq!(
            written(doc! {"insert": "c", "documents": [{"_id": 1}, {"_id": 2}], "$db": "d"}),
            Some(2)
        );
        assert_eq!(
            written(doc! {"insert": "c", "documents": [{"_id": 1}, {"a": 2}], "$db": "d"}),
            None
        );
        assert_eq!(
            written(doc! {"insert": "c", "documents": [], "$db": "d"}),
            None
        );
    }

    #[test]
    fn an_upsert_is_confined_only_by_an_equality_and_never_by_a_pipeline() {
        let inc = doc! {"$inc": {"n": 1}};
        assert_eq!(
            update(doc! {"q": {"_id": 1}, "u": &inc, "upsert": true}),
            Some(1)
        );
        assert_eq!(
            update(doc! {"q": {"_id": {"$in": [1]}}, "u": &inc, "upsert": true}),
            None
        );
        assert_eq!(
            update(doc! {"q": {"_id": 1}, "u": [{"$set": {"_id": 2}}], "upsert": true}),
            None
        );
        let modify = doc! {"findAndModify": "c", "query": {"_id": 1}, "update": [], "upsert": true, "$db": "d"};
        assert_eq!(written(modify), None);
    }
}
