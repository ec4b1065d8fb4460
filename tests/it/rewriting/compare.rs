//! Whether two answers are the same, and asking for many of them quickly.

use std::collections::BTreeMap;

use bson::raw::RawBsonRef;
use bson::{Bson, Document, RawDocument, RawDocumentBuf};

use crate::raw::{RawClient, Section, encode, op_msg};

/// What is wrong with the second answer to a command, if the first is right.
pub fn difference(command: &Document, one: &RawDocument, other: &RawDocument) -> Option<String> {
    let code = |reply: &RawDocument| match reply.get("code") {
        Ok(Some(RawBsonRef::Int32(code))) => Some(code),
        _ => None,
    };
    if (code(one), code(other)) != (None, None) {
        // What a document makes fail has other numbers in the server's other engine.
        return (code(one).is_some() != code(other).is_some())
            .then(|| format!("{one:?} and {other:?}"));
    }
    let (mut first, mut second) = (answers(one), answers(other));
    if command.contains_key("distinct") {
        // Which of equal values stands for them depends on the plan.
        let plain = |reply: &RawDocument| {
            let values = Document::try_from(reply).unwrap();
            let values = values.get_array("values").unwrap();
            let mut plain: Vec<String> = values.iter().map(plain).collect();
            plain.sort();
            plain
        };
        return (plain(one) != plain(other)).then(|| format!("{one:?} and {other:?}"));
    }
    let is_sorted = command.contains_key("sort");
    let is_cut = |key: &str| command.get_i32(key).is_ok_and(|n| n > 0);
    if !is_sorted && (is_cut("limit") || is_cut("skip")) && command.contains_key("find") {
        // Any are lawful.
        let (first, second) = (first.len(), second.len());
        return (first != second).then(|| format!("{first} and {second} documents"));
    }
    if !is_sorted {
        first.sort();
        second.sort();
    }
    (first != second).then(|| format!("{one:?} and {other:?}"))
}

/// The documents of a first batch, or the whole reply.
fn answers(reply: &RawDocument) -> Vec<Vec<u8>> {
    let Ok(cursor) = reply.get_document("cursor") else {
        let count = reply.get("n").unwrap();
        return vec![format!("{count:?}").into_bytes()];
    };
    let batch = cursor.get_array("firstBatch").unwrap();
    let document = |d: bson::error::Result<RawBsonRef<'_>>| {
        d.unwrap().as_document().unwrap().as_bytes().to_vec()
    };
    batch.into_iter().map(document).collect()
}

/// A value of which equal ones have the same text.
fn plain(value: &Bson) -> String {
    let number = |n: f64| {
        if n == 0.0 {
            "number 0".to_owned()
        } else {
            format!("number {n}")
        }
    };
    match value {
        Bson::Int32(n) => number(f64::from(*n)),
        Bson::Int64(n) => number(*n as f64),
        Bson::Double(n) => number(*n),
        Bson::Decimal128(n) => number(n.to_string().parse().unwrap_or(f64::NAN)),
        Bson::Array(values) => format!("{:?}", values.iter().map(plain).collect::<Vec<_>>()),
        Bson::Document(d) => {
            let fields = d.iter().map(|(k, v)| format!("{k}: {}", plain(v)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Bson::Symbol(text) => plain(&Bson::String(text.clone())),
        Bson::Undefined => "Null".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Replies to commands, asked for all at once.
pub async fn ask(client: &mut RawClient, db: &str, commands: &[Document]) -> Vec<RawDocumentBuf> {
    let mut bytes = Vec::new();
    let mut ids = BTreeMap::new();
    for (n, command) in commands.iter().enumerate() {
        let mut command = command.clone();
        command.insert("$db", db);
        let id = client.id();
        ids.insert(id, n);
        bytes.extend(op_msg(id, 0, &[Section::Body(encode(&command))]));
    }
    client.send_bytes(&bytes).await.unwrap();
    let mut replies = Vec::with_capacity(commands.len());
    for n in 0..commands.len() {
        let reply = client
            .receive()
            .await
            .unwrap_or_else(|error| panic!("{error}, reply {n} to {commands:#?}"));
        assert_eq!(ids.get(&reply.response_to), Some(&n));
        replies.push(reply.document().unwrap());
    }
    replies
}
