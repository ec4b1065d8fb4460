//! The filters of a command, for rules that are about the fields that they name.

use super::{Command, Kind};
use crate::wire::doc::{self, Element};
use crate::wire::op_msg::Sequence;

/// The filters of one command: none, one, or one for each statement.
pub struct Filters<'a> {
    kind: Kind,
    body: &'a [u8],
    sequences: &'a [Sequence],
}

/// Where a command and its document sequences say which documents they're about.
pub fn filters<'a>(command: &'a Command, sequences: &'a [Sequence]) -> Filters<'a> {
    Filters {
        kind: command.kind,
        body: command.body(),
        sequences,
    }
}

impl<'a> Filters<'a> {
    /// Whether one of the filters names these fields at its top level and no others. A command
    /// without a filter has an empty one.
    pub fn any_names(&self, fields: &[String]) -> bool {
        self.any(|filter| names(filter, fields))
    }

    /// Whether one of the filters names all of these fields at its top level, and perhaps others.
    pub fn any_includes(&self, fields: &[String]) -> bool {
        self.any(|filter| {
            let named = |field: &String| doc::find(filter, field).is_some();
            fields.iter().all(named)
        })
    }

    fn any(&self, fits: impl Fn(&[u8]) -> bool) -> bool {
        match self.kind {
            Kind::Find => fits(self.field("filter")),
            Kind::Count | Kind::Distinct | Kind::FindAndModify => fits(self.field("query")),
            Kind::Aggregate => fits(self.first_match().unwrap_or_default()),
            Kind::Update => self.statements("updates").any(fits),
            Kind::Delete => self.statements("deletes").any(fits),
            _ => false,
        }
    }

    fn field(&self, name: &'static str) -> &'a [u8] {
        let filter = doc::find(self.body, name).and_then(|f| f.as_document());
        filter.unwrap_or_default()
    }

    fn first_match(&self) -> Option<&'a [u8]> {
        let stages = doc::find(self.body, "pipeline")?.as_array()?;
        let first = doc::elements(stages).next()?.ok()?.as_document()?;
        doc::find(first, "$match")?.as_document()
    }

    /// `q` of every statement, in the body or in a document sequence.
    fn statements(&self, list: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let inside = doc::find(self.body, list).and_then(|l| l.as_array());
        let inside = inside.into_iter().flat_map(doc::elements).flatten();
        let inside = inside.filter_map(|s: Element<'a>| s.as_document());
        let beside = self.sequences.iter().filter(move |s| s.identifier == list);
        let beside = beside.flat_map(|s| s.iter().flatten());
        inside
            .chain(beside)
            .filter_map(|statement| doc::find(statement, "q")?.as_document())
    }
}

fn names(filter: &[u8], fields: &[String]) -> bool {
    let mut named = 0;
    for element in doc::elements(filter).flatten() {
        if !fields.iter().any(|field| field == element.key) {
            return false;
        }
        named += 1;
    }
    named == fields.len()
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use bytes::Bytes;

    use super::*;
    use crate::wire::build;
    use crate::wire::frame::Frame;
    use crate::wire::op_msg::OpMsg;

    fn named(command: Document, fields: &[&str]) -> bool {
        let command = Command::parse_body(&Bytes::from(command.to_vec().unwrap())).unwrap();
        let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        filters(&command, &[]).any_names(&fields)
    }

    #[test]
    fn a_filter_names_its_top_level_fields_in_any_order_and_no_others() {
        let find = doc! {"find": "c", "filter": {"a": 1, "b": {"c": 1}}, "$db": "d"};
        assert!(named(find.clone(), &["b", "a"]));
        assert!(!named(find.clone(), &["a"]));
        assert!(!named(find, &["a", "b", "c"]));
        assert!(named(doc! {"count": "c", "$db": "d"}, &[]));
        let stages = vec![doc! {"$match": {"a": 1}}, doc! {"$count": "n"}];
        let aggregate = doc! {"aggregate": "c", "pipeline": stages, "$db": "d"};
        assert!(named(aggregate, &["a"]));
    }

    #[test]
    fn a_filter_includes_fields_beside_others() {
        let find = doc! {"find": "c", "filter": {"a": 1, "b": 1}, "$db": "d"};
        let command = Command::parse_body(&Bytes::from(find.to_vec().unwrap())).unwrap();
        let includes = |fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
            filters(&command, &[]).any_includes(&fields)
        };
        assert!(includes(&["b"]) && includes(&["b", "a"]));
        assert!(!includes(&["b", "c"]));
    }

    #[test]
    fn statements_are_found_in_the_body_and_in_sequences() {
        let delete = doc! {"delete": "c", "deletes": [{"q": {"a": 1}, "limit": 0}, {"q": {}, "limit": 0}], "$db": "d"};
        assert!(named(delete.clone(), &[]));
        assert!(named(delete, &["a"]));
        let body = doc! {"delete": "c", "$db": "d"}.to_vec().unwrap();
        let one = doc! {"q": {"b": 1}, "limit": 1}.to_vec().unwrap();
        let bytes = build::op_msg_with_sequences(1, 0, 0, &body, &[("deletes", &one)]);
        let msg = OpMsg::parse(&Frame { bytes }).unwrap();
        let command = Command::parse(&msg).unwrap();
        let b = vec!["b".to_owned()];
        assert!(filters(&command, &msg.sequences).any_names(&b));
        assert!(!filters(&command, &msg.sequences).any_names(&[]));
    }
}
