//! Which updates and deletes may share a batch: those of one document at most, by `_id`.
//!
//! A filter that wants `_id` to equal a value selects at most the one document that has it,
//! whatever else it wants. So operations with different values never meet in a document, and a
//! batch holds one per document (see [`super::queue`]). Strings count as different byte for byte;
//! under a collection's own collation two of them may name one document. Then, too, each has its
//! own result: the server runs a command's operations one after the other, each as a whole.
//!
//! Idempotent is an update that, applied a second time to what it made, makes the same again: each
//! of its operators assigns to plain paths what doesn't depend on the document (`$set`, `$unset`,
//! `$setOnInsert`, a replacement), or takes the extreme of the old value and a constant (`$min`,
//! `$max`); and so does a delete. A path with `$` isn't plain: what it reaches depends on what the
//! first try left. Values that the server fills in (a zero timestamp) differ each time.

use super::stats::Alone;
use crate::command::{Strings, ValueKey};
use crate::config::WriteKind;
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};

/// What is known of a statement that may be merged.
#[derive(Debug)]
pub(super) struct Single {
    /// Which document it may change.
    pub document: ValueKey,
    /// Whether it may be applied twice.
    pub is_idempotent: bool,
}

impl Single {
    /// Reads a statement of an `update` or `delete`.
    pub fn read(kind: WriteKind, statement: &[u8]) -> Result<Single, Alone> {
        doc::check(statement).map_err(|_| Alone::Fields)?;
        let fields = Fields::read(kind, statement)?;
        let strings = match fields.collated {
            true => Strings::Collated,
            false => Strings::Simple,
        };
        let document = document(fields.filter, strings).ok_or(Alone::Filter)?;
        let is_idempotent = match (kind, fields.update) {
            (WriteKind::Update, Some(update)) => is_idempotent(&update),
            (WriteKind::Delete, None) => true,
            _ => return Err(Alone::Fields),
        };
        Ok(Single {
            document,
            is_idempotent,
        })
    }
}

struct Fields<'a> {
    filter: &'a [u8],
    update: Option<Element<'a>>,
    collated: bool,
}

impl<'a> Fields<'a> {
    fn read(kind: WriteKind, statement: &'a [u8]) -> Result<Fields<'a>, Alone> {
        let (mut filter, mut update, mut collated) = (None, None, false);
        let mut is_limited = kind == WriteKind::Update;
        let mut seen: Vec<&str> = Vec::with_capacity(6);
        for field in doc::elements(statement) {
            let field = field.map_err(|_| Alone::Fields)?;
            if seen.contains(&field.key) {
                return Err(Alone::Fields);
            }
            seen.push(field.key);
            let fits = match (field.key, kind) {
                ("q", _) => {
                    filter = field.as_document();
                    filter.is_some()
                }
                ("u", WriteKind::Update) => {
                    update = Some(field);
                    field.as_document().is_some() || field.as_array().is_some()
                }
                ("upsert", WriteKind::Update) => field.as_bool().is_some(),
                ("multi", WriteKind::Update) => match field.as_bool() {
                    Some(true) => return Err(Alone::Several),
                    multi => multi.is_some(),
                },
                ("limit", WriteKind::Delete) => match field.as_f64() {
                    Some(0.0) => return Err(Alone::Several),
                    limit => {
                        is_limited = true;
                        limit == Some(1.0)
                    }
                },
                ("arrayFilters", WriteKind::Update) => field.as_array().is_some(),
                ("hint", _) => field.as_document().is_some() || field.as_str().is_some(),
                ("collation", _) => {
                    collated = true;
                    field.as_document().is_some()
                }
                // `sort` too: MongoDB 8.0's bulkWrite hasn't got it in all of its releases.
                _ => false,
            };
            if !fits {
                return Err(Alone::Fields);
            }
        }
        Ok(Fields {
            filter: filter.filter(|_| is_limited).ok_or(Alone::Fields)?,
            update,
            collated,
        })
    }
}

/// The value that the filter wants `_id` to equal.
fn document(filter: &[u8], strings: Strings) -> Option<ValueKey> {
    let mut id = None;
    for condition in doc::elements(filter) {
        let condition = condition.ok()?;
        match condition.key {
            "_id" if id.is_some() => return None,
            "_id" => id = Some(ValueKey::of(&condition, strings)?),
            // Code, text, geometry, or whatever may take its time.
            key if key.starts_with('$') => return None,
            _ => {}
        }
    }
    id
}

fn is_idempotent(update: &Element<'_>) -> bool {
    let Some(update) = update.as_document() else {
        return false;
    };
    let is_constant = |field: &Element<'_>| field.as_timestamp() != Some(0);
    let fields = || doc::elements(update).map_while(Result::ok);
    if !fields()
        .next()
        .is_some_and(|first| first.key.starts_with('$'))
    {
        return fields().all(|field| is_constant(&field));
    }
    fields().all(|operator| {
        matches!(
            operator.key,
            "$set" | "$unset" | "$setOnInsert" | "$min" | "$max"
        ) && operator.as_document().is_some_and(|targets| {
            doc::elements(targets).all(|t| t.is_ok_and(|t| !t.key.contains('$') && is_constant(&t)))
        })
    })
}

/// The statement as an operation of `bulkWrite` on its first namespace.
pub(super) fn operation(kind: WriteKind, statement: &[u8]) -> Vec<u8> {
    let mut operation = DocBuf::with_capacity(statement.len() + 32);
    operation.append_i32(kind.as_str(), 0);
    for field in doc::elements(statement).map_while(Result::ok) {
        match field.key {
            "q" => operation.append_value("filter", field.kind, field.value),
            "u" => operation.append_value("updateMods", field.kind, field.value),
            // One document is what an operation is for, if it doesn't say `multi`.
            "limit" => &mut operation,
            _ => operation.append_raw(field.raw),
        };
    }
    operation.finish()
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc};

    use super::*;

    fn update(statement: Document) -> Result<Single, Alone> {
        Single::read(WriteKind::Update, &statement.to_vec().unwrap())
    }

    fn of(filter: Document) -> Result<ValueKey, Alone> {
        Ok(update(doc! {"q": filter, "u": {"$set": {"a": 1}}})?.document)
    }

    #[test]
    fn a_filter_by_id_selects_one_document_whatever_else_it_wants() {
        let one = of(doc! {"_id": 1}).unwrap();
        assert_eq!(of(doc! {"version": {"$gt": 3}, "_id": 1_i64}).unwrap(), one);
        assert_ne!(of(doc! {"_id": 2}).unwrap(), one);
        let elsewhere = [
            doc! {},
            doc! {"a": 1},
            doc! {"_id": {"$gt": 1}},
            doc! {"_id": null},
            doc! {"_id": [1]},
            doc! {"_id": Bson::RegularExpression(bson::Regex { pattern: "a".try_into().unwrap(), options: "".try_into().unwrap() })},
            doc! {"_id": 1, "$where": "true"},
            doc! {"$or": [{"_id": 1}]},
        ];
        for filter in elsewhere {
            assert_eq!(of(filter.clone()).unwrap_err(), Alone::Filter, "{filter}");
        }
    }

    #[test]
    fn under_a_collation_strings_are_not_told_apart() {
        let with = |id: Bson| {
            update(doc! {"q": {"_id": id}, "u": {}, "collation": {"locale": "fr"}}).map(drop)
        };
        assert_eq!(with("a".into()), Err(Alone::Filter));
        assert_eq!(with(5.into()), Ok(()));
    }

    #[test]
    fn statements_of_several_documents_and_unknown_fields_go_alone() {
        let with = |field: &str, value: Bson| {
            let mut statement = doc! {"q": {"_id": 1}, "u": {"a": 1}};
            statement.insert(field, value);
            update(statement).map(drop)
        };
        assert_eq!(with("multi", true.into()), Err(Alone::Several));
        assert_eq!(with("multi", false.into()), Ok(()));
        assert_eq!(with("upsert", 1.into()), Err(Alone::Fields));
        assert_eq!(with("sort", doc! {"a": 1}.into()), Err(Alone::Fields));
        assert_eq!(with("u", 5.into()), Err(Alone::Fields));
        let delete = |limit: Bson| {
            let statement = doc! {"q": {"_id": 1}, "limit": limit};
            Single::read(WriteKind::Delete, &statement.to_vec().unwrap()).map(drop)
        };
        assert_eq!(delete(1.into()), Ok(()));
        assert_eq!(delete(0.into()), Err(Alone::Several));
        assert_eq!(delete("x".into()), Err(Alone::Fields));
    }

    #[test]
    fn idempotent_is_what_makes_the_same_document_again() {
        let idempotent = |u: Bson| {
            let statement = doc! {"q": {"_id": 1}, "u": u};
            update(statement).unwrap().is_idempotent
        };
        let zero = bson::Timestamp {
            time: 0,
            increment: 0,
        };
        let yes = [
            doc! {"$set": {"a": 1, "b.c": 2}, "$unset": {"d": 1}},
            doc! {"$min": {"a": 1}, "$max": {"b": 1}, "$setOnInsert": {"c": 1}},
            doc! {"a": 1},
            doc! {},
        ];
        for update in yes {
            assert!(idempotent(update.clone().into()), "{update}");
        }
        let no = [
            doc! {"$inc": {"a": 1}},
            doc! {"$set": {"a": 1}, "$push": {"b": 1}},
            doc! {"$set": {"a.$": 1}},
            doc! {"$set": {"a.$[x]": 1}},
            doc! {"$set": {"a": zero}},
            doc! {"$currentDate": {"a": true}},
            doc! {"$rename": {"a": "b"}},
            doc! {"a": zero},
        ];
        for update in no {
            assert!(!idempotent(update.clone().into()), "{update}");
        }
        assert!(!idempotent(bson::bson!([{"$set": {"a": 1}}])));
    }

    #[test]
    fn a_statement_becomes_an_operation_with_all_it_says() {
        let operation = |kind, statement: Document| {
            let bytes = operation(kind, &statement.to_vec().unwrap());
            Document::from_reader(bytes.as_slice()).unwrap()
        };
        let update =
            doc! {"q": {"_id": 1}, "u": [{"$set": {"a": 1}}], "upsert": true, "hint": "_id_"};
        assert_eq!(
            operation(WriteKind::Update, update),
            doc! {"update": 0, "filter": {"_id": 1}, "updateMods": [{"$set": {"a": 1}}], "upsert": true, "hint": "_id_"}
        );
        let delete = doc! {"q": {"_id": 1}, "limit": 1, "collation": {"locale": "fr"}};
        assert_eq!(
            operation(WriteKind::Delete, delete),
            doc! {"delete": 0, "filter": {"_id": 1}, "collation": {"locale": "fr"}}
        );
    }
}
