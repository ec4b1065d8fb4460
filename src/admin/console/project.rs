//! Projections: fields named to stay, or named to go. Nothing computed.

use bson::{Bson, Document};

use super::query::Refused;
use crate::command::codes;

/// What is left of each document.
#[derive(Clone, Debug)]
pub(super) enum Projection {
    All,
    /// These paths, and `_id` unless it was ruled out.
    Only(Vec<String>),
    /// All but these paths.
    Without(Vec<String>),
}

impl Projection {
    /// Reads `{a: 1, "b.c": 1, _id: 0}` or `{a: 0}`.
    pub fn read(document: &Document) -> Result<Projection, Refused> {
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for (path, value) in document {
            match flag(value) {
                Some(true) => kept.push(path.clone()),
                Some(false) => dropped.push(path.clone()),
                None => {
                    let text = format_args!(
                        "the console's projections only name fields, as {{field: 1}} or {{field: 0}}; {path:?} asks for more"
                    );
                    return Err(Refused::new(codes::BAD_VALUE, text));
                }
            }
        }
        let id = || "_id".to_owned();
        match (kept.is_empty(), dropped.as_slice()) {
            (true, []) => Ok(Projection::All),
            (true, _) => Ok(Projection::Without(dropped)),
            (false, []) => {
                if !kept.contains(&id()) {
                    kept.insert(0, id());
                }
                Ok(Projection::Only(kept))
            }
            (false, [only]) if only == "_id" => Ok(Projection::Only(kept)),
            (false, _) => Err(Refused::new(
                codes::BAD_VALUE,
                "a projection either names fields to keep or fields to leave out",
            )),
        }
    }

    /// The document that is left.
    pub fn apply(&self, mut row: Document) -> Document {
        match self {
            Projection::All => row,
            Projection::Only(paths) => {
                let mut out = Document::new();
                for path in paths {
                    copy(&row, path, &mut out);
                }
                out
            }
            Projection::Without(paths) => {
                for path in paths {
                    remove(&mut row, path);
                }
                row
            }
        }
    }
}

fn flag(value: &Bson) -> Option<bool> {
    match value {
        Bson::Boolean(flag) => Some(*flag),
        Bson::Int32(n) => Some(*n != 0),
        Bson::Int64(n) => Some(*n != 0),
        Bson::Double(n) => Some(*n != 0.0),
        _ => None,
    }
}

fn copy(from: &Document, path: &str, to: &mut Document) {
    match path.split_once('.') {
        None => {
            if let Some(value) = from.get(path) {
                to.insert(path, value.clone());
            }
        }
        Some((first, rest)) => {
            if let Some(Bson::Document(inner)) = from.get(first) {
                let slot = to
                    .entry(first.to_owned())
                    .or_insert_with(|| Bson::Document(Document::new()));
                if let Bson::Document(slot) = slot {
                    copy(inner, rest, slot);
                }
            }
        }
    }
}

fn remove(from: &mut Document, path: &str) {
    match path.split_once('.') {
        None => drop(from.remove(path)),
        Some((first, rest)) => {
            if let Some(Bson::Document(inner)) = from.get_mut(first) {
                remove(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn fields_are_kept_or_left_out_by_name() {
        let row = doc! {"_id": 1, "a": {"b": 2, "c": 3}, "d": 4};
        for (projection, left) in [
            (doc! {}, row.clone()),
            (doc! {"a.b": 1}, doc! {"_id": 1, "a": {"b": 2}}),
            (
                doc! {"_id": 0, "d": true, "a.b": 1, "a.c": 1},
                doc! {"d": 4, "a": {"b": 2, "c": 3}},
            ),
            (doc! {"a.c": 0, "d": 0}, doc! {"_id": 1, "a": {"b": 2}}),
        ] {
            let read = Projection::read(&projection).unwrap();
            assert_eq!(read.apply(row.clone()), left, "{projection}");
        }
    }

    #[test]
    fn what_is_more_than_names_is_refused() {
        for projection in [
            doc! {"a": "$b"},
            doc! {"a": {"$slice": 1}},
            doc! {"a": 1, "b": 0},
        ] {
            assert!(Projection::read(&projection).is_err(), "{projection}");
        }
    }
}
