//! A client that can tell an answer from memory from the server's own.

use bson::{Bson, Document, doc};

use crate::raw::RawClient;

/// One connection.
pub struct Asker {
    raw: RawClient,
}

/// A reply that is ok.
#[derive(Clone, Debug)]
pub struct Answer {
    pub reply: Document,
    /// It came from memory: members of a replica set send a `$clusterTime`, the cache doesn't.
    pub hit: bool,
}

impl Asker {
    pub async fn connect(address: &str) -> Asker {
        let raw = RawClient::connect(address).await.expect("it listens");
        Asker { raw }
    }

    /// The reply to a command, an error too.
    pub async fn reply(&mut self, command: &Document) -> Document {
        let reply = self.raw.command(command).await.expect("a reply");
        Document::try_from(&*reply).expect("a document")
    }

    /// The reply to a command that succeeds.
    pub async fn ask(&mut self, command: &Document) -> Answer {
        let reply = self.reply(command).await;
        // (A count of a view says it with an integer.)
        let ok = [Some(&Bson::Double(1.0)), Some(&Bson::Int32(1))].contains(&reply.get("ok"));
        assert!(ok, "{command}: {reply}");
        assert!(!reply.contains_key("writeErrors"), "{command}: {reply}");
        Answer {
            hit: !reply.contains_key("$clusterTime"),
            reply,
        }
    }

    /// All documents of a cursor, in batches of this size, and how many came in each.
    pub async fn drain(
        &mut self,
        find: &Document,
        batch_size: Option<i32>,
    ) -> (Vec<Document>, Vec<usize>) {
        let mut first = find.clone();
        match (batch_size, first.contains_key("aggregate")) {
            (Some(size), true) => drop(first.insert("cursor", doc! {"batchSize": size})),
            (Some(size), false) => drop(first.insert("batchSize", size)),
            (None, _) => {}
        }
        let mut answer = self.ask(&first).await;
        let (mut all, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let batch = answer.batch();
            sizes.push(batch.len());
            all.extend(batch);
            let id = answer.cursor();
            if id == 0 {
                return (all, sizes);
            }
            let collection = find.iter().next().expect("a command").1.clone();
            let mut more = doc! {"getMore": id, "collection": collection};
            more.insert("$db", find.get("$db").cloned());
            if let Some(lsid) = find.get("lsid") {
                more.insert("lsid", lsid.clone());
            }
            // (Of a size of 0, only the first batch is empty.)
            if let Some(size) = batch_size.filter(|&size| size > 0) {
                more.insert("batchSize", size);
            }
            answer = self.ask(&more).await;
        }
    }
}

impl Answer {
    /// The documents of the batch.
    pub fn batch(&self) -> Vec<Document> {
        let cursor = self.reply.get_document("cursor").expect("a cursor");
        let batch = cursor
            .get_array("firstBatch")
            .or_else(|_| cursor.get_array("nextBatch"))
            .expect("a batch");
        let documents = batch.iter().map(|d| d.as_document().expect("a document"));
        documents.cloned().collect()
    }

    /// The cursor's id; 0 after the last batch.
    pub fn cursor(&self) -> i64 {
        let cursor = self.reply.get_document("cursor").expect("a cursor");
        cursor.get_i64("id").expect("an id")
    }
}
