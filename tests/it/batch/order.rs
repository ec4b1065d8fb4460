//! A session's writes land in the session's order, though one of them is in a batch: a client gives up an insert that another's
//! transaction blocks, and deletes the document in the same session.

use std::time::Duration;

use bson::oid::ObjectId;
use bson::{Document, doc};

use super::{ON, ask, lsid};
use crate::parts::proxy::Proxy;
use crate::parts::{shared, wait};
use crate::raw::{RawClient, Section, encode};

/// Ways to delete a document, in order, as number 2 of a session.
fn deletions(session: &Document, db: &str) -> Vec<Vec<Document>> {
    let remove = doc! {"delete": "c", "deletes": [{"q": {"_id": "held"}, "limit": 1}], "$db": db};
    let number = doc! {"lsid": session, "txnNumber": 2_i64};
    let with = |mut command: Document, more: Document| {
        command.extend(number.clone());
        command.extend(more);
        command
    };
    let modify = doc! {"findAndModify": "c", "query": {"_id": "held"}, "remove": true, "$db": db};
    let begin = doc! {"autocommit": false, "startTransaction": true};
    let commit = doc! {"commitTransaction": 1, "$db": "admin"};
    vec![
        vec![with(remove.clone(), doc! {})],
        vec![with(modify, doc! {})],
        vec![
            with(remove, begin),
            with(commit, doc! {"autocommit": false}),
        ],
    ]
}

/// Of two inserts in a batch one is blocked, and its client gives up.
struct Blocked {
    holder: RawClient,
    of_holder: Document,
    neighbour: RawClient,
}

impl Blocked {
    async fn new(proxy: &Proxy, address: &str, session: &Document, db: &str) -> Blocked {
        let mut holder = RawClient::connect(address).await.unwrap();
        let create = doc! {"insert": "c", "documents": [{"_id": "there"}], "$db": db};
        ask(&mut holder, &create).await.unwrap();
        let only_one = || proxy.count("/batch/sent_alone/only_one");
        wait::until_async("the collection is known, and batched", async || {
            let before = only_one();
            let mut early = RawClient::connect(proxy.address()).await.unwrap();
            let documents = [doc! {"_id": ObjectId::new()}];
            let insert = doc! {"insert": "c", "documents": &documents[..], "$db": db};
            ask(&mut early, &insert).await.unwrap();
            only_one() > before
        })
        .await;
        let of_holder = doc! {"lsid": lsid(), "txnNumber": 1_i64, "autocommit": false};
        let insert = |id: &str| doc! {"insert": "c", "documents": [{"_id": id}], "$db": db};
        let mut hold = insert("held");
        hold.extend(of_holder.clone());
        hold.insert("startTransaction", true);
        let held = ask(&mut holder, &hold).await.unwrap();
        assert_eq!(held.get_i32("n").ok(), Some(1), "{held}");

        let mut victim = RawClient::connect(proxy.address()).await.unwrap();
        let mut neighbour = RawClient::connect(proxy.address()).await.unwrap();
        let before = proxy.count("/batch/kinds/insert/batched");
        let mut blocked = insert("held");
        blocked.extend(doc! {"lsid": session, "txnNumber": 1_i64});
        for (client, command) in [(&mut victim, blocked), (&mut neighbour, insert("other"))] {
            let sections = [Section::Body(encode(&command))];
            client.send(0, &sections).await.unwrap();
        }
        let ops = doc! {"currentOp": 1, "active": true, "op": "insert", "ns": format!("{db}.c"), "$db": "admin"};
        let mut operator = RawClient::connect(address).await.unwrap();
        wait::until_async("they are at the server", async || {
            let reply = ask(&mut operator, &ops).await.unwrap();
            !reply.get_array("inprog").unwrap().is_empty()
        })
        .await;
        let batched = proxy.count("/batch/kinds/insert/batched");
        assert_eq!(batched, before + 2, "in one batch");
        Blocked {
            holder,
            of_holder,
            neighbour,
        }
    }

    /// Lets the blocked insert go on; the neighbour's reply has come afterwards.
    async fn let_go(mut self) {
        let mut abort = self.of_holder;
        abort.extend(doc! {"abortTransaction": 1, "$db": "admin"});
        let abort = doc! {"abortTransaction": 1}
            .into_iter()
            .chain(abort)
            .collect();
        ask(&mut self.holder, &abort).await.unwrap();
        let reply = self.neighbour.receive().await.unwrap().document().unwrap();
        let reply = Document::try_from(&*reply).unwrap();
        assert_eq!(reply.get_i32("n").ok(), Some(1), "{reply}");
    }
}

async fn is_there(address: &str, db: &str) -> bool {
    let mut direct = RawClient::connect(address).await.unwrap();
    let count = doc! {"count": "c", "query": {"_id": "held"}, "$db": db};
    let reply = ask(&mut direct, &count).await.unwrap();
    reply.get_i32("n").unwrap() == 1
}

const TOGETHER: (&str, &str) = ("batch.linger", "\"300ms\"");

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_a_write_in_a_batch_waits_for_it() {
    let rs = shared::rs().await;
    let address = &rs.addresses()[0];
    let patient = ("batch.max_wait", "\"60s\"");
    let proxy = Proxy::start(&rs.seed_uri(), &[ON, TOGETHER, patient]);
    for way in 0..3 {
        let (db, session) = (shared::database("order"), lsid());
        let blocked = Blocked::new(&proxy, address, &session, &db).await;
        let commands = deletions(&session, &db).swap_remove(way);
        let mut next = RawClient::connect(proxy.address()).await.unwrap();
        let asked = tokio::spawn(async move {
            let mut replies = Vec::new();
            for command in &commands {
                replies.push(ask(&mut next, command).await.unwrap());
            }
            replies
        });
        // (That it isn't answered meanwhile can't be waited for.)
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!asked.is_finished(), "way {way}");
        blocked.let_go().await;
        for reply in asked.await.unwrap() {
            assert_eq!(reply.get_f64("ok").ok(), Some(1.0), "way {way}: {reply}");
        }
        assert!(!is_there(address, &db).await, "way {way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_in_a_batch_and_may_still_land_does_not_after_the_next_one() {
    let rs = shared::rs().await;
    let address = &rs.addresses()[0];
    // The batch isn't over when its time is, but asked for again, write by write.
    let hasty = ("batch.max_wait", "\"500ms\"");
    let proxy = Proxy::start(&rs.seed_uri(), &[ON, TOGETHER, hasty]);
    for way in 0..3 {
        let (db, session) = (shared::database("doubt"), lsid());
        let blocked = Blocked::new(&proxy, address, &session, &db).await;
        let commands = deletions(&session, &db).swap_remove(way);
        let mut next = RawClient::connect(proxy.address()).await.unwrap();
        for command in &commands {
            let reply = ask(&mut next, command).await.unwrap();
            assert_eq!(reply.get_f64("ok").ok(), Some(1.0), "way {way}: {reply}");
        }
        blocked.let_go().await;
        assert!(!is_there(address, &db).await, "way {way}");
    }
}
