//! A filter as a tree that rules can change.
//!
//! Only filters that are known through and through have one: every operator is in the list below,
//! and no path is named twice side by side. Operands that no rule looks into stay raw, right or
//! wrong, so that the server's own error comes out of a rewritten filter too.

use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element, kind};

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    /// All of them: `$and`, or a filter document within a list.
    And(Vec<Node<'a>>),
    /// At least one of them, each an `And`.
    Or(Vec<Node<'a>>),
    /// Conditions on one path.
    Field(Field<'a>),
    /// `$expr: false` or `$nor: [{}]`: nothing fulfils it.
    Never(Element<'a>),
    /// `$nor`, as it came.
    Other(Element<'a>),
}

/// Conditions on one path; a document must fulfil all of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub path: &'a str,
    pub tests: Vec<Test<'a>>,
}

/// One condition on a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test<'a> {
    /// `{path: value}`; then it is the only one.
    Literal(Element<'a>),
    /// `$in`, all of its values scalars.
    In(Vec<Element<'a>>),
    /// `$nin`, all of its values scalars.
    Nin(Vec<Element<'a>>),
    /// Any other operator with its operand.
    Operator(Element<'a>),
}

/// The conditions of a filter, or `None` if something in it isn't known.
pub(super) fn parse(filter: &[u8]) -> Option<Vec<Node<'_>>> {
    conditions(filter, 0)
}

/// Writes conditions as a filter document. Those whose key is taken go into `$and`.
pub(super) fn emit(nodes: &[Node<'_>], out: &mut DocBuf) {
    let taken = |n: usize| {
        let key = nodes.get(n).and_then(Node::key);
        key.is_some() && nodes.iter().take(n).any(|before| before.key() == key)
    };
    let mut all: Vec<&Node<'_>> = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        match node {
            Node::And(members) => all.extend(members),
            _ if taken(n) => all.push(node),
            _ => {}
        }
    }
    let mut written = all.is_empty();
    for (n, node) in nodes.iter().enumerate() {
        match node {
            Node::And(_) if !written => {
                written = true;
                emit_list("$and", &all, out);
            }
            Node::And(_) => {}
            _ if taken(n) => {}
            Node::Or(branches) => emit_list("$or", &branches.iter().collect::<Vec<_>>(), out),
            Node::Field(field) => field.emit(out),
            Node::Never(element) | Node::Other(element) => {
                out.append_raw(element.raw);
            }
        }
    }
    if !written {
        emit_list("$and", &all, out);
    }
}

/// Whether these are the filter `{_id: value}`.
pub(super) fn asks_for_id(nodes: &[Node<'_>]) -> bool {
    matches!(nodes, [Node::Field(field)] if field.path == "_id" && matches!(field.only(), Some(Test::Literal(_))))
}

/// The values that rules compare, copy and leave out: each is right as an operand anywhere.
pub(super) fn is_scalar(value: &Element<'_>) -> bool {
    matches!(
        value.kind,
        kind::DOUBLE
            | kind::STRING
            | kind::BINARY
            | kind::OBJECT_ID
            | kind::BOOL
            | kind::DATE
            | kind::NULL
            | kind::INT32
            | kind::TIMESTAMP
            | kind::INT64
            | kind::DECIMAL128
    )
}

/// The elements of an array of scalars.
pub(super) fn scalars<'a>(list: &Element<'a>) -> Option<Vec<Element<'a>>> {
    let mut values = Vec::new();
    for value in doc::elements(list.as_array()?) {
        values.push(value.ok().filter(is_scalar)?);
    }
    Some(values)
}

impl<'a> Node<'a> {
    /// The key under which it stands in a document; `None`: it takes its place in `$and`.
    fn key(&self) -> Option<&'a str> {
        match self {
            Node::And(_) => None,
            Node::Or(_) => Some("$or"),
            Node::Field(field) => Some(field.path),
            Node::Never(element) | Node::Other(element) => Some(element.key),
        }
    }

    /// Whether the server is certain to accept it and to evaluate it without an error on any
    /// document, so that it may be left out together with something that decides without it.
    pub fn is_sound(&self) -> bool {
        match self {
            Node::And(nodes) => nodes.iter().all(Node::is_sound),
            Node::Or(nodes) => !nodes.is_empty() && nodes.iter().all(Node::is_sound),
            Node::Field(field) => {
                is_plain_path(field.path) && field.tests.iter().all(Test::is_sound)
            }
            Node::Never(_) => true,
            Node::Other(_) => false,
        }
    }
}

impl<'a> Field<'a> {
    /// Its only condition, if it has one.
    pub fn only(&self) -> Option<&Test<'a>> {
        self.tests.first().filter(|_| self.tests.len() == 1)
    }

    fn emit(&self, out: &mut DocBuf) {
        if let Some(Test::Literal(value)) = self.only() {
            out.append_value(self.path, value.kind, value.value);
            return;
        }
        out.append_doc_with(self.path, |out| {
            for test in &self.tests {
                match test {
                    Test::In(values) => emit_values("$in", values, out),
                    Test::Nin(values) => emit_values("$nin", values, out),
                    Test::Operator(element) => {
                        out.append_raw(element.raw);
                    }
                    Test::Literal(value) => {
                        out.append_value("$eq", value.kind, value.value);
                    }
                }
            }
        });
    }
}

impl<'a> Test<'a> {
    /// The operator.
    pub fn operator(&self) -> &'a str {
        match self {
            Test::Literal(_) => "",
            Test::In(_) => "$in",
            Test::Nin(_) => "$nin",
            Test::Operator(element) => element.key,
        }
    }

    fn is_sound(&self) -> bool {
        match self {
            Test::Literal(value) => is_scalar(value),
            Test::In(_) | Test::Nin(_) => true,
            Test::Operator(operator) => match operator.key {
                "$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte" => is_scalar(operator),
                "$exists" => operator.as_bool().is_some(),
                _ => false,
            },
        }
    }
}

/// Letters, digits, `_` and `-`, no part of it a number: a path that every place takes and that
/// means fields only, never places in an array.
pub(super) fn is_plain_path(path: &str) -> bool {
    let is_plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    path.split('.').count() <= MAX_DEPTH as usize && path.split('.').all(is_plain)
}

fn emit_list(key: &str, nodes: &[&Node<'_>], out: &mut DocBuf) {
    out.append_array(key, |list| {
        for node in nodes {
            list.push_doc_with(|out| match node {
                Node::And(members) => emit(members, out),
                node => emit(std::slice::from_ref(node), out),
            });
        }
    });
}

fn emit_values(key: &str, values: &[Element<'_>], out: &mut DocBuf) {
    out.append_array(key, |list| {
        for value in values {
            list.push_value(value.kind, value.value);
        }
    });
}

fn conditions(filter: &[u8], depth: u32) -> Option<Vec<Node<'_>>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut nodes: Vec<Node<'_>> = Vec::new();
    let mut and = false;
    for element in doc::elements(filter) {
        let node = condition(element.ok()?, depth)?;
        let is_and = matches!(node, Node::And(_));
        if nodes.len() >= MOST_CONDITIONS || is_and && and || is_taken(&nodes, &node) {
            return None;
        }
        and |= is_and;
        nodes.push(node);
    }
    Some(nodes)
}

fn is_taken(nodes: &[Node<'_>], node: &Node<'_>) -> bool {
    let key = node.key();
    key.is_some() && nodes.iter().any(|before| before.key() == key)
}

fn condition(element: Element<'_>, depth: u32) -> Option<Node<'_>> {
    match element.key {
        "$and" => Some(Node::And(list(&element, depth)?)),
        "$or" => Some(Node::Or(list(&element, depth)?)),
        "$nor" => {
            let members = list(&element, depth)?;
            let is_all = members == [Node::And(Vec::new())];
            Some(if is_all {
                Node::Never(element)
            } else {
                Node::Other(element)
            })
        }
        _ if is_never(&element) => Some(Node::Never(element)),
        key if key.starts_with('$') => None,
        path => Some(Node::Field(Field {
            path,
            tests: tests(element)?,
        })),
    }
}

/// `$expr: false`. (`$alwaysFalse` isn't documented, and not every server knows it.)
pub(super) fn is_never(element: &Element<'_>) -> bool {
    element.key == "$expr" && element.as_bool() == Some(false)
}

/// The members of `$and` and its like: a list that isn't empty, of documents.
fn list<'a>(element: &Element<'a>, depth: u32) -> Option<Vec<Node<'a>>> {
    let mut members = Vec::new();
    for member in doc::elements(element.as_array()?) {
        let member = conditions(member.ok()?.as_document()?, depth + 1)?;
        members.push(Node::And(member));
    }
    (!members.is_empty()).then_some(members)
}

fn tests(element: Element<'_>) -> Option<Vec<Test<'_>>> {
    if holds_retired(&element, 0) {
        return None;
    }
    let operators = element.as_document().filter(|d| is_operators(d));
    let Some(operators) = operators else {
        return Some(vec![Test::Literal(element)]);
    };
    let mut tests: Vec<Test<'_>> = Vec::new();
    for operator in doc::elements(operators) {
        let operator = operator.ok()?;
        if !OPERATORS.contains(&operator.key) || tests.iter().any(|t| t.operator() == operator.key)
        {
            return None;
        }
        tests.push(match (operator.key, scalars(&operator)) {
            ("$in", Some(values)) => Test::In(values),
            ("$nin", Some(values)) => Test::Nin(values),
            _ => Test::Operator(operator),
        });
    }
    Some(tests)
}

/// Whether a value is, or holds, one of a type that is hardly used any more. What the server makes of those
/// depends on collations, indexes and plans: `Symbol` under a collation is an error in some plans only.
fn holds_retired(value: &Element<'_>, depth: u32) -> bool {
    match value.kind {
        kind::SYMBOL | kind::UNDEFINED | kind::DB_POINTER | kind::CODE | kind::CODE_WITH_SCOPE => {
            true
        }
        kind::DOCUMENT | kind::ARRAY => {
            let holds = |inner: Element<'_>| holds_retired(&inner, depth + 1);
            depth > MAX_DEPTH || doc::elements(value.value).any(|inner| inner.map_or(true, holds))
        }
        _ => false,
    }
}

/// Whether a document is one of operators, not a value to compare with.
pub(super) fn is_operators(document: &[u8]) -> bool {
    let first = doc::elements(document).next();
    first.is_some_and(|first| first.is_ok_and(|first| first.key.starts_with('$')))
}

/// Each a function of the values at its path and of nothing else, that no value makes fail.
const OPERATORS: [&str; 15] = [
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$exists",
    "$type",
    "$size",
    "$mod",
    "$all",
    "$elemMatch",
    "$not",
];

/// Filters nested deeper aren't looked at; the server's own limit is higher.
const MAX_DEPTH: u32 = 50;
/// Nor are those with more conditions side by side: finding doubles would take long.
const MOST_CONDITIONS: usize = 100;

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc};

    use super::*;

    fn again(filter: &Document) -> Option<Document> {
        let bytes = filter.to_vec().unwrap();
        let mut out = DocBuf::new();
        emit(&parse(&bytes)?, &mut out);
        Some(Document::from_reader(&mut out.finish().as_slice()).unwrap())
    }

    #[test]
    fn a_filter_that_no_rule_changes_comes_out_as_it_went_in() {
        for filter in [
            doc! {},
            doc! {"a": 1, "b.c": {"$gt": 1, "$lte": "x"}},
            doc! {"a": {"b": 1}, "c": {}, "d": [1]},
            doc! {"$or": [{"a": 1, "b": 2}, {"$and": [{"c": 1}, {}]}], "d": {"$in": [1, Bson::Null]}},
            doc! {"$and": [{"a": 1}, {"a": 2}], "$nor": [{"a": {"$exists": true}}]},
            doc! {"a": {"$in": [{"x": 1}]}, "b": {"$nin": []}, "$nor": [{}]},
            doc! {"$expr": false},
            doc! {"a": {"$not": {"$regex": "x"}}, "b": {"$elemMatch": {"$where": 1}}},
        ] {
            assert_eq!(again(&filter), Some(filter));
        }
    }

    #[test]
    fn what_is_not_known_through_and_through_has_no_tree() {
        for filter in [
            doc! {"$where": "1"},
            doc! {"$text": {"$search": "x"}},
            doc! {"$expr": {"$eq": ["$a", 1]}},
            doc! {"a": {"$near": [1, 2]}},
            doc! {"a": {"$regex": "x", "$options": "i"}},
            doc! {"a": {"$eq": 1, "b": 2}},
            doc! {"a": {"$ref": "c", "$id": 1}},
            doc! {"$and": []},
            doc! {"$or": [1]},
            doc! {"$or": [{"a": {"$geoWithin": {}}}]},
            doc! {"$nor": [{"$where": "1"}]},
            doc! {"$comment": "x"},
            doc! {"$alwaysFalse": 1},
            doc! {"a": Bson::Symbol("x".into())},
            doc! {"a": {"$in": [1, Bson::Symbol("x".into())]}},
            doc! {"$or": [{"a": {"$gt": {"b": [Bson::Undefined]}}}]},
        ] {
            assert_eq!(again(&filter), None, "{filter}");
        }
        let mut twice = DocBuf::new();
        twice.append_i32("a", 1).append_i32("a", 2);
        assert!(parse(&twice.finish()).is_none());
    }

    #[test]
    fn paths_with_numbers_or_odd_characters_are_not_plain() {
        for path in ["a", "a.b", "_id", "a-b.c_d1"] {
            assert!(is_plain_path(path), "{path}");
        }
        for path in ["", "a.", ".a", "a..b", "a.0", "0", "$a", "a.$", "a b", "é"] {
            assert!(!is_plain_path(path), "{path}");
        }
    }
}
