//! How much a reply holds, for the profile.

use super::Kind;
use crate::wire::doc;

/// Documents that a reply shows, or that a write says it found; values of a `distinct`. A count
/// is one number, and is counted as one.
#[must_use]
pub fn returned(kind: Kind, body: &[u8]) -> u64 {
    let number = |key: &str| {
        let n = doc::find(body, key).and_then(|e| e.as_i64());
        n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
    };
    match kind {
        Kind::Find | Kind::Aggregate | Kind::GetMore => {
            let cursor = doc::find(body, "cursor").and_then(|c| c.as_document());
            let batch = cursor.and_then(|cursor| {
                doc::fields(cursor)
                    .map_while(Result::ok)
                    .find(|field| matches!(field.key(), b"firstBatch" | b"nextBatch"))
            });
            items(batch.and_then(|b| b.unnamed().as_array()))
        }
        Kind::Distinct => items(doc::find(body, "values").and_then(|v| v.as_array())),
        Kind::Count => u64::from(doc::find(body, "n").is_some()),
        Kind::Insert | Kind::Update | Kind::Delete => number("n"),
        Kind::FindAndModify => {
            let value = doc::find(body, "value");
            u64::from(value.is_some_and(|v| v.as_document().is_some()))
        }
        _ => 0,
    }
}

fn items(array: Option<&[u8]>) -> u64 {
    doc::fields(array.unwrap_or(&[]))
        .map_while(Result::ok)
        .count() as u64
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn of(kind: Kind, reply: Document) -> u64 {
        returned(kind, &reply.to_vec().unwrap())
    }

    #[test]
    fn documents_are_counted_by_what_each_command_answers() {
        let cursor = doc! {"cursor": {"firstBatch": [{}, {}], "id": 0_i64}, "ok": 1};
        assert_eq!(of(Kind::Find, cursor), 2);
        let more = doc! {"cursor": {"id": 5_i64, "nextBatch": [{}]}, "ok": 1};
        assert_eq!(of(Kind::GetMore, more), 1);
        assert_eq!(of(Kind::Distinct, doc! {"values": [1, 2, 3], "ok": 1}), 3);
        assert_eq!(of(Kind::Count, doc! {"n": 900, "ok": 1}), 1);
        assert_eq!(of(Kind::Update, doc! {"n": 4, "nModified": 2, "ok": 1}), 4);
        assert_eq!(
            of(Kind::FindAndModify, doc! {"value": {"_id": 1}, "ok": 1}),
            1
        );
        assert_eq!(of(Kind::FindAndModify, doc! {"value": null, "ok": 1}), 0);
        assert_eq!(of(Kind::Find, doc! {"ok": 0}), 0);
    }
}
