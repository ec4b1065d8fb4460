//! What may lawfully differ between two replies to the same operation, and
//! the comparison of everything else.
//!
//! A mask is as narrow as it can be: it names a path, and it replaces the
//! value by its type, so that a field that is missing, renamed, moved or of
//! another type is still a difference. Field order is compared too.

use bson::{Bson, Document};

/// What is done to the value at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// The field may be present or absent.
    Drop,
    /// The value may differ, its type may not.
    Value,
    /// The value and even its numeric type may differ; a number it must be.
    Number,
    /// Only the presence of the field counts.
    Anything,
    /// Zero stays zero, any other number is like any other.
    NonZero,
    /// Of a document only the field names count, sorted.
    Names,
    /// The order of an array's elements doesn't count.
    Unordered,
    /// Elements of an array may be few or many, but it must be an array.
    Length,
}

/// A path (`*` = one segment, `**` = any number of them) and its mask.
pub type Rule = (&'static str, Mask);

/// The order of the reply's own fields doesn't count.
pub const ANY_ORDER: Rule = ("", Mask::Unordered);

/// Masks that hold for every reply.
pub const EVERYWHERE: &[Rule] = &[
    // A reply from a cache carries none (docs/coherence.md, rule 9).
    ("$clusterTime", Mask::Drop),
    ("operationTime", Mask::Value),
    ("opTime", Mask::Value),
    ("electionId", Mask::Value),
    ("lastCommittedOpTime", Mask::Value),
    ("localTime", Mask::Value),
    ("connectionId", Mask::Number),
    ("topologyVersion", Mask::Drop),
    ("cursor.id", Mask::NonZero),
    ("cursor.postBatchResumeToken", Mask::Value),
    ("cursor.atClusterTime", Mask::Value),
    ("atClusterTime", Mask::Value),
    ("**.uuid", Mask::Value),
    ("**.collectionUUID", Mask::Value),
    ("**.serverInfo.host", Mask::Value),
    ("**.serverInfo.port", Mask::Number),
    ("recoveryToken", Mask::Drop),
];

/// `reply` with what may differ blotted out. `words` are texts of this run
/// (cursor ids, session ids) and what they are called instead.
pub fn masked(reply: &Document, rules: &[Rule], words: &[(String, String)]) -> Document {
    let masker = Masker { rules, words };
    let mut path = Vec::new();
    let mut out = masker.document(&mut path, reply);
    if rules.contains(&ANY_ORDER) {
        let mut fields: Vec<_> = out.into_iter().collect();
        fields.sort_by(|(left, _), (right, _)| left.cmp(right));
        out = fields.into_iter().collect();
    }
    out
}

/// Every place where two masked documents differ, as `path: left | right`.
pub fn differences(left: &Document, right: &Document) -> Vec<String> {
    let mut found = Vec::new();
    compare_documents("", left, right, &mut found);
    found
}

struct Masker<'a> {
    rules: &'a [Rule],
    words: &'a [(String, String)],
}

impl Masker<'_> {
    fn document(&self, path: &mut Vec<String>, document: &Document) -> Document {
        let mut out = Document::new();
        for (key, value) in document {
            path.push(key.clone());
            if let Some(value) = self.value(path, value) {
                out.insert(key.clone(), value);
            }
            path.pop();
        }
        out
    }

    fn value(&self, path: &mut Vec<String>, value: &Bson) -> Option<Bson> {
        let mask = self.mask_at(path);
        match mask {
            Some(Mask::Drop) => return None,
            Some(Mask::Value) => return Some(blot(&format!("{:?}", value.element_type()))),
            Some(Mask::Anything) => return Some(blot("anything")),
            Some(Mask::Number) => return Some(number(value)),
            Some(Mask::NonZero) if as_i64(value).is_some_and(|n| n != 0) => {
                return Some(blot("non-zero"));
            }
            Some(Mask::Names) => return Some(names(value)),
            Some(Mask::Length) if value.as_array().is_some() => return Some(blot("array")),
            _ => {}
        }
        Some(match value {
            Bson::Document(inner) => Bson::Document(self.document(path, inner)),
            Bson::Array(elements) => {
                let mut out = Vec::with_capacity(elements.len());
                for (index, element) in elements.iter().enumerate() {
                    path.push(index.to_string());
                    out.extend(self.value(path, element));
                    path.pop();
                }
                if mask == Some(Mask::Unordered) {
                    out.sort_by_cached_key(|element| format!("{element:?}"));
                }
                Bson::Array(out)
            }
            Bson::String(text) => Bson::String(self.renamed(text)),
            other => other.clone(),
        })
    }

    fn mask_at(&self, path: &[String]) -> Option<Mask> {
        let rules = self.rules.iter().chain(EVERYWHERE);
        rules
            .filter(|(pattern, _)| {
                let pattern: Vec<&str> = pattern.split('.').collect();
                matches(&pattern, path)
            })
            .map(|(_, mask)| *mask)
            .next()
    }

    fn renamed(&self, text: &str) -> String {
        let rename = |text: String, (word, name): &(String, String)| text.replace(word, name);
        without_uuids(&self.words.iter().fold(text.to_owned(), rename))
    }
}

/// Messages name collections by ids that the server made: `UUID("…")`.
fn without_uuids(text: &str) -> String {
    const START: &str = "UUID(\"";
    let mut parts = text.split(START);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| {
        let rest = part.split_once('"').map_or(part, |(_, rest)| rest);
        format!("{out}{START}\"{rest}")
    })
}

fn matches(pattern: &[&str], path: &[String]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), Some((_, tail))) => matches(rest, path) || matches(pattern, tail),
        (Some((&"**", rest)), None) => matches(rest, path),
        (Some((&"*", rest)), Some((_, tail))) => matches(rest, tail),
        (Some((name, rest)), Some((key, tail))) => name == key && matches(rest, tail),
        _ => false,
    }
}

fn blot(what: &str) -> Bson {
    Bson::String(format!("<{what}>"))
}

fn number(value: &Bson) -> Bson {
    match value {
        Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) => blot("number"),
        other => other.clone(),
    }
}

fn names(value: &Bson) -> Bson {
    let Bson::Document(document) = value else {
        return blot(&format!("{:?}", value.element_type()));
    };
    let mut names: Vec<_> = document.keys().map(|key| blot(key)).collect();
    names.sort_by_key(|name| name.to_string());
    Bson::Array(names)
}

fn as_i64(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(n) => Some((*n).into()),
        Bson::Int64(n) => Some(*n),
        _ => None,
    }
}

fn compare_documents(path: &str, left: &Document, right: &Document, found: &mut Vec<String>) {
    for (key, value) in left {
        match right.get(key) {
            Some(other) => compare(&format!("{path}.{key}"), value, other, found),
            None => found.push(format!("{path}.{key}: {} | absent", brief(value))),
        }
    }
    for (key, value) in right {
        if !left.contains_key(key) {
            found.push(format!("{path}.{key}: absent | {}", brief(value)));
        }
    }
    if found.is_empty() && !left.keys().eq(right.keys()) {
        let order = |d: &Document| d.keys().cloned().collect::<Vec<_>>().join(",");
        found.push(format!(
            "{path}: order of fields {} | {}",
            order(left),
            order(right)
        ));
    }
}

fn compare(path: &str, left: &Bson, right: &Bson, found: &mut Vec<String>) {
    match (left, right) {
        (Bson::Document(left), Bson::Document(right)) => {
            compare_documents(path, left, right, found);
        }
        (Bson::Array(left), Bson::Array(right)) => {
            if left.len() != right.len() {
                found.push(format!(
                    "{path}: {} elements | {} elements",
                    left.len(),
                    right.len()
                ));
            }
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{path}.{index}"), left, right, found);
            }
        }
        (left, right) if !same(left, right) => {
            found.push(format!("{path}: {} | {}", brief(left), brief(right)));
        }
        _ => {}
    }
}

fn same(left: &Bson, right: &Bson) -> bool {
    match (left, right) {
        (Bson::Double(left), Bson::Double(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

fn brief(value: &Bson) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(300) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

mod tests {
    use super::*;
    use bson::{doc, oid::ObjectId};

    fn differ(left: Document, right: Document, rules: &[Rule]) -> Vec<String> {
        differences(&masked(&left, rules, &[]), &masked(&right, rules, &[]))
    }

    #[test]
    fn a_masked_value_may_differ_but_not_its_type() {
        let rules: &[Rule] = &[("a.*.x", Mask::Value)];
        let with = |x: Bson| doc! { "a": [{ "x": x, "y": 1 }] };
        assert!(differ(with(1.into()), with(2.into()), rules).is_empty());
        assert_eq!(differ(with(1.into()), with("2".into()), rules).len(), 1);
        assert_eq!(
            differ(with(1.into()), doc! { "a": [{ "y": 1 }] }, rules).len(),
            1
        );
    }

    #[test]
    fn numeric_types_nan_and_the_order_of_fields_count() {
        assert_eq!(differ(doc! { "n": 1 }, doc! { "n": 1_i64 }, &[]).len(), 1);
        assert_eq!(differ(doc! { "n": 0.0 }, doc! { "n": -0.0 }, &[]).len(), 1);
        assert!(differ(doc! { "n": f64::NAN }, doc! { "n": f64::NAN }, &[]).is_empty());
        let one_way = doc! { "a": { "b": 1, "c": 2 } };
        let other_way = doc! { "a": { "c": 2, "b": 1 } };
        assert_eq!(differ(one_way, other_way, &[]).len(), 1);
    }

    #[test]
    fn an_exhausted_cursor_differs_from_an_open_one() {
        let cursor = |id: i64| doc! { "cursor": { "id": id } };
        assert!(differ(cursor(7), cursor(8), &[]).is_empty());
        assert_eq!(differ(cursor(0), cursor(8), &[]).len(), 1);
    }

    #[test]
    fn names_count_wherever_values_do_not() {
        let rules: &[Rule] = &[("status", Mask::Names)];
        let with = |inner: Document| doc! { "status": inner };
        let left = with(doc! { "a": 1, "b": 2 });
        assert!(differ(left.clone(), with(doc! { "b": 9, "a": "x" }), rules).is_empty());
        assert_eq!(differ(left, with(doc! { "a": 1 }), rules).len(), 1);
    }

    #[test]
    fn server_made_ids_are_compared_unless_a_rule_says_otherwise() {
        let with = || doc! { "upserted": [{ "index": 0, "_id": ObjectId::new() }] };
        assert_eq!(differ(with(), with(), &[]).len(), 1);
        let rules: &[Rule] = &[("upserted.*._id", Mask::Value)];
        assert!(differ(with(), with(), rules).is_empty());
    }

    #[test]
    fn words_of_one_run_and_ids_of_collections_are_renamed_in_texts() {
        let words = [("4711".to_owned(), "<cursor>".to_owned())];
        let reply = doc! { "errmsg": "cursor id 4711 on UUID(\"1-2\") (db.a) and UUID(\"3\")" };
        let expected = doc! { "errmsg": "cursor id <cursor> on UUID(\"\") (db.a) and UUID(\"\")" };
        assert_eq!(masked(&reply, &[], &words), expected);
    }
}
