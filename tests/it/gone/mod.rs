//! Clients that go while their writes wait: what has not been sent is not sent. It would come after what the client has
//! meanwhile written through another connection, and undo that.

mod frozen;
mod waits;

use std::collections::BTreeSet;

use bson::{Document, doc};

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::wait;
use crate::raw::{MORE_TO_COME, RawClient, Section, encode};

/// Writes of every kind, each by a client of its own, each about a document of its own.
struct Writes {
    db: String,
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Update,
    Numbered,
    Replace,
    Insert,
    Delete,
    FindAndModify,
    Merge,
    Silent,
}

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::Update,
        Kind::Numbered,
        Kind::Replace,
        Kind::Insert,
        Kind::Delete,
        Kind::FindAndModify,
        Kind::Merge,
        Kind::Silent,
    ];

    fn command(self, id: i32) -> Document {
        let set = doc! {"q": {"_id": id}, "u": {"$set": {"v": 1}}};
        match self {
            Kind::Update => doc! {"update": "c", "updates": [set]},
            Kind::Numbered => {
                doc! {"update": "c", "updates": [set], "lsid": crate::batch::lsid(), "txnNumber": 1_i64}
            }
            Kind::Replace => doc! {"update": "c", "updates": [{"q": {"_id": id}, "u": {"v": 1}}]},
            Kind::Insert => doc! {"insert": "c", "documents": [{"_id": id, "v": 1}]},
            Kind::Delete => doc! {"delete": "c", "deletes": [{"q": {"_id": id}, "limit": 1}]},
            Kind::FindAndModify => {
                doc! {"findAndModify": "c", "query": {"_id": id}, "update": {"$set": {"v": 1}}}
            }
            Kind::Merge => doc! {
                "aggregate": "c", "cursor": {},
                "pipeline": [{"$match": {"_id": id}}, {"$set": {"v": 1}}, {"$merge": "c"}],
            },
            Kind::Silent => doc! {"update": "c", "updates": [set], "writeConcern": {"w": 0}},
        }
    }
}

impl Writes {
    /// The documents that they are about.
    async fn prepare(direct: &mut Asker, db: &str, kinds: &[Kind]) -> Writes {
        let writes = Writes {
            db: db.to_owned(),
            kinds: kinds.to_vec(),
        };
        let documents = writes.untouched();
        if !documents.is_empty() {
            direct
                .ask(&doc! {"insert": "c", "documents": documents, "$db": db})
                .await;
        }
        writes
    }

    fn untouched(&self) -> Vec<Document> {
        let all = self.kinds.iter().zip(0..);
        let there = all.filter(|(kind, _)| !matches!(kind, Kind::Insert));
        there.map(|(_, id)| doc! {"_id": id, "v": 0}).collect()
    }

    /// Clients that are connected, so that nothing but their writes has to come.
    async fn clients(&self, proxy: &Proxy) -> Vec<RawClient> {
        let mut clients = Vec::new();
        for _ in &self.kinds {
            let mut client = RawClient::connect(proxy.address()).await.unwrap();
            let hello = doc! {"hello": 1, "$db": "admin"};
            client.command(&hello).await.unwrap();
            clients.push(client);
        }
        clients
    }

    /// Sends each, and waits for nothing.
    async fn send(&self, clients: &mut [RawClient]) {
        for ((kind, id), client) in self.kinds.iter().zip(0..).zip(clients) {
            self.send_one(*kind, id, client).await;
        }
    }

    /// The same by one client.
    async fn send_all_by(&self, client: &mut RawClient) {
        for (kind, id) in self.kinds.iter().zip(0..) {
            self.send_one(*kind, id, client).await;
        }
    }

    async fn send_one(&self, kind: Kind, id: i32, client: &mut RawClient) {
        let mut command = kind.command(id);
        command.insert("$db", &self.db);
        let flags = match kind {
            Kind::Silent => MORE_TO_COME,
            _ => 0,
        };
        let sections = [Section::Body(encode(&command))];
        client.send(flags, &sections).await.unwrap();
    }

    /// Waits until the proxy has given all of them up.
    fn until_given_up(&self, proxy: &Proxy) {
        let all = self.kinds.len() as u64;
        wait::until("all are given up", || {
            proxy.count("/clients/given_up") >= all
        });
        assert_eq!(proxy.count("/clients/given_up"), all);
    }

    /// The writes of which something is to be seen: their documents are not as they were before.
    async fn carried_out(&self, direct: &mut Asker) -> BTreeSet<i32> {
        let find = doc! {"find": "c", "$db": &self.db};
        let found = direct.drain(&find, None).await.0;
        let id = |document: &Document| document.get_i32("_id").ok();
        let untouched = self.untouched();
        let changed = found.iter().filter(|d| !untouched.contains(d));
        let missing = untouched.iter().filter(|d| !found.contains(d));
        changed.chain(missing).filter_map(id).collect()
    }
}
