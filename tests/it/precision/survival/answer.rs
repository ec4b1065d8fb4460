//! Answers of reads, and whether an old one is one that the server could give now.

use bson::{Bson, Document, RawDocumentBuf, doc};

use super::reads::{Order, Read};
use crate::raw::{RawClient, Section, encode};

/// What a read brought.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A cursor's documents.
    Documents(Vec<RawDocumentBuf>),
    /// A number or a list of values.
    Value(Bson),
}

/// Whether a reply isn't an error.
pub fn is_ok(reply: &RawDocumentBuf) -> bool {
    reply.get_f64("ok").is_ok_and(|ok| ok == 1.0)
}

/// `None`: an error.
pub fn answer(reply: &RawDocumentBuf) -> Option<Answer> {
    if !is_ok(reply) {
        return None;
    }
    if let Ok(cursor) = reply.get_document("cursor") {
        assert_eq!(cursor.get_i64("id").unwrap(), 0, "{cursor:?}");
        let batch = cursor.get_array("firstBatch").unwrap();
        let documents = batch
            .into_iter()
            .map(|d| d.unwrap().as_document().unwrap().to_owned());
        return Some(Answer::Documents(documents.collect()));
    }
    let value = reply.get("n").unwrap().or(reply.get("values").unwrap());
    Some(Answer::Value(value.unwrap().try_into().unwrap()))
}

/// Sends commands all at once and returns their replies.
pub async fn all(client: &mut RawClient, commands: &[Document]) -> Vec<RawDocumentBuf> {
    for command in commands {
        client
            .send(0, &[Section::Body(encode(command))])
            .await
            .unwrap();
    }
    let mut replies = Vec::new();
    for _ in commands {
        replies.push(client.receive().await.unwrap().document().unwrap());
    }
    replies
}

/// Whether `kept` is still a lawful answer where the server just gave `fresh`.
pub async fn lawful(client: &mut RawClient, read: &Read, kept: &Answer, fresh: &Answer) -> bool {
    let (kept, fresh) = match (kept, fresh) {
        (Answer::Documents(kept), Answer::Documents(fresh)) => (kept, fresh),
        (Answer::Value(kept), Answer::Value(fresh)) => return sorted(&[kept]) == sorted(&[fresh]),
        _ => return false,
    };
    if kept == fresh {
        return true;
    }
    let aggregates = read.command.contains_key("aggregate");
    match read.order {
        Order::Total => false,
        Order::Any if aggregates => normal(kept) == normal(fresh),
        Order::Any => multiset(kept) == multiset(fresh),
        Order::Ties | Order::Some => {
            if kept.len() != fresh.len() {
                return false;
            }
            let mut command = read.command.clone();
            command.remove("limit");
            command.remove("skip");
            let Some(Answer::Documents(whole)) = answer(&all(client, &[command]).await[0]) else {
                return false;
            };
            if !includes(&whole, kept) {
                return false;
            }
            read.order == Order::Some || tied(client, read, kept, fresh).await
        }
    }
}

/// Whether all documents that are in only one of the answers have the same sort key: then they
/// come in the order of `_id`, whichever way `_id` is sorted.
async fn tied(
    client: &mut RawClient,
    read: &Read,
    kept: &[RawDocumentBuf],
    fresh: &[RawDocumentBuf],
) -> bool {
    let ids = |list: &[RawDocumentBuf], other: &[RawDocumentBuf]| -> Vec<Bson> {
        let only = list.iter().filter(|d| !other.contains(d));
        only.map(|d| d.get("_id").unwrap().unwrap().try_into().unwrap())
            .collect()
    };
    let differing = [ids(kept, fresh), ids(fresh, kept)].concat();
    let mut listings = Vec::new();
    for direction in [1, -1] {
        let mut sort = read.command.get_document("sort").unwrap().clone();
        sort.insert("_id", direction);
        let mut command = doc! {
            "find": read.command.get_str("find").unwrap(),
            "filter": {"_id": {"$in": differing.clone()}}, "sort": sort, "projection": {"_id": 1},
        };
        for also in ["collation", "$db"] {
            if let Some(value) = read.command.get(also) {
                command.insert(also, value.clone());
            }
        }
        match answer(&all(client, &[command]).await[0]) {
            Some(Answer::Documents(list)) => listings.push(list),
            _ => return false,
        }
    }
    listings[1].reverse();
    listings[0] == listings[1]
}

fn multiset(documents: &[RawDocumentBuf]) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = documents.iter().map(|d| d.as_bytes().to_vec()).collect();
    all.sort();
    all
}

fn includes(whole: &[RawDocumentBuf], part: &[RawDocumentBuf]) -> bool {
    let mut left = multiset(whole);
    part.iter().all(|document| {
        let at = left.iter().position(|d| d == document.as_bytes());
        at.map(|at| left.swap_remove(at)).is_some()
    })
}

/// Equal numbers of different types count as the same: which one represents them in a group or a
/// distinct value depends on the order of the documents.
fn normal(documents: &[RawDocumentBuf]) -> Vec<String> {
    let documents: Vec<Bson> = documents
        .iter()
        .map(|d| Bson::Document(Document::try_from(d).unwrap()))
        .collect();
    sorted(&documents.iter().collect::<Vec<_>>())
}

fn sorted(values: &[&Bson]) -> Vec<String> {
    let lists: Vec<&Bson> = values
        .iter()
        .flat_map(|value| match value {
            Bson::Array(list) => list.iter().collect(),
            other => vec![*other],
        })
        .collect();
    let mut all: Vec<String> = lists.into_iter().map(text).collect();
    all.sort();
    all
}

fn text(value: &Bson) -> String {
    match value {
        Bson::Int32(n) => f64::from(*n).to_string(),
        Bson::Int64(n) => (*n as f64).to_string(),
        Bson::Double(n) => n.to_string(),
        Bson::Decimal128(n) => n.to_string().parse::<f64>().unwrap().to_string(),
        Bson::Document(d) => {
            let fields: Vec<_> = d
                .iter()
                .map(|(key, v)| format!("{key}: {}", text(v)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Bson::Array(list) => {
            let values: Vec<_> = list.iter().map(text).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}
