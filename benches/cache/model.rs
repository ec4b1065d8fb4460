//! A server that answers at once: users with balances, and collections of large documents.

use std::collections::HashMap;
use std::sync::Mutex;

use bson::{Bson, Document, doc};
use petiole::pipeline::{Backend, BoxFuture, Outcome, Reply, Request};

#[derive(Default)]
pub struct Model {
    balances: Mutex<HashMap<i64, i64>>,
}

impl Model {
    /// The reply document, as bytes.
    pub fn reply_to(&self, command: &Document) -> Vec<u8> {
        let reply = if command.contains_key("listCollections") {
            batch(doc! {"name": "users", "type": "collection", "options": {}})
        } else if command.contains_key("listIndexes") {
            batch(doc! {"name": "_id_", "key": {"_id": 1}, "v": 2})
        } else if command.contains_key("getDefaultRWConcern") {
            doc! {"ok": 1.0}
        } else if let Ok(updates) = command.get_array("updates") {
            let q = updates[0]
                .as_document()
                .and_then(|u| u.get_document("q").ok());
            let user = q.map_or(0, |q| q.get_i64("user_id").unwrap_or(0));
            *self.balances.lock().unwrap().entry(user).or_default() += 1;
            doc! {"n": 1, "nModified": 1, "ok": 1.0}
        } else {
            let filter = command.get_document("filter").expect("a find");
            let (field, value) = filter.iter().next().expect("a filter");
            let id = value.as_i64().unwrap_or(0);
            let size = match field.as_str() {
                "day" => 8_000,
                "report" => 100_000,
                _ => 100,
            };
            let balance = self.balances.lock().unwrap().get(&id).copied().unwrap_or(0);
            let mut document = doc! {"_id": id, "balance": balance, "guild_id": id % 1_000};
            document.insert(field, Bson::Int64(id));
            document.insert("text", "x".repeat(size));
            batch(document)
        };
        reply.to_vec().expect("a document that encodes")
    }
}

fn batch(document: Document) -> Document {
    doc! {"cursor": {"firstBatch": [document], "id": 0_i64, "ns": "game.users"}, "ok": 1.0}
}

impl Backend for Model {
    fn call<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let command = Document::from_reader(request.command.body().as_ref());
            let reply = self.reply_to(&command.expect("a command"));
            Ok(Reply::document(&request.frame, &reply))
        })
    }
}
