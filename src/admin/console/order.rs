//! The order of values, as far as the console's own documents need it: numbers, strings, dates,
//! booleans and null, in MongoDB's order of types.

use std::cmp::Ordering;

use bson::{Bson, Document};

/// `{field: 1, other: -1}`.
#[derive(Clone, Debug, Default)]
pub(super) struct Sort(pub Vec<(String, Direction)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

impl Sort {
    /// Puts documents in order; equal ones stay as they were.
    pub fn apply(&self, rows: &mut [Document]) {
        rows.sort_by(|a, b| {
            let by = |(path, direction): &(String, Direction)| {
                let order = compare(at(a, path), at(b, path));
                match direction {
                    Direction::Ascending => order,
                    Direction::Descending => order.reverse(),
                }
            };
            let mut orders = self.0.iter().map(by);
            orders
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        });
    }
}

/// The value at a dotted path through documents.
pub(super) fn at<'a>(row: &'a Document, path: &str) -> Option<&'a Bson> {
    let mut parts = path.split('.');
    let mut value = row.get(parts.next()?)?;
    for part in parts {
        value = value.as_document()?.get(part)?;
    }
    Some(value)
}

/// Which of two values comes first; what is missing counts as null.
pub(super) fn compare(a: Option<&Bson>, b: Option<&Bson>) -> Ordering {
    let (a, b) = (a.unwrap_or(&Bson::Null), b.unwrap_or(&Bson::Null));
    rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
        (Bson::String(a), Bson::String(b)) => a.cmp(b),
        (Bson::DateTime(a), Bson::DateTime(b)) => a.cmp(b),
        (Bson::Boolean(a), Bson::Boolean(b)) => a.cmp(b),
        (a, b) => match (number(a), number(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => a.to_string().cmp(&b.to_string()),
        },
    })
}

fn number(value: &Bson) -> Option<f64> {
    match value {
        Bson::Int32(n) => Some(f64::from(*n)),
        // (No number of the console's is that big.)
        Bson::Int64(n) => Some(*n as f64),
        Bson::Double(n) => Some(*n),
        _ => None,
    }
}

fn rank(value: &Bson) -> u8 {
    match value {
        Bson::Null => 1,
        Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) => 2,
        Bson::String(_) => 3,
        Bson::Document(_) => 4,
        Bson::Array(_) => 5,
        Bson::Boolean(_) => 8,
        Bson::DateTime(_) => 9,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn documents_are_sorted_by_several_fields_and_types() {
        let mut rows = vec![
            doc! {"i": 0, "a": "x"},
            doc! {"i": 1, "a": {"b": 2}},
            doc! {"i": 2, "a": 5.5},
            doc! {"i": 3},
            doc! {"i": 4, "a": 5_i64},
            doc! {"i": 5, "a": "x"},
        ];
        let by = |path: &str, direction| (path.to_owned(), direction);
        Sort(vec![
            by("a", Direction::Ascending),
            by("i", Direction::Descending),
        ])
        .apply(&mut rows);
        let order: Vec<_> = rows.iter().map(|r| r.get_i32("i").unwrap()).collect();
        assert_eq!(order, [3, 4, 2, 5, 0, 1]);
        assert_eq!(at(&doc! {"a": {"b": 2}}, "a.b"), Some(&Bson::Int32(2)));
    }
}
