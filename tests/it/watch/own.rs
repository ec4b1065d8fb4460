//! Events of the proxy's own writes, and others' writes that could be taken for them.

use std::time::Instant;

use bson::{Binary, Document, doc, spec::BinarySubtype};
use petiole::embedded::{Deployment, MongodOptions, Signal};

use super::faults::{be_patient, deployment};
use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::wait::{until, until_async};

fn numbered(mut write: Document, session: u8, number: i64) -> Document {
    let id = Binary {
        subtype: BinarySubtype::Uuid,
        bytes: vec![session; 16],
    };
    write.insert("lsid", doc! {"id": id});
    write.insert("txnNumber", number);
    write
}

fn one(mut write: Document) -> Document {
    write.insert("writeConcern", doc! {"w": 1});
    write.insert("$db", "d");
    write
}

fn set(id: i32, field: &str, value: i32) -> Document {
    let update = doc! {"q": {"_id": id}, "u": {"$set": {field: value}}};
    one(doc! {"update": "c", "updates": [update]})
}

/// Writes of a client of the proxy that change nothing, or nothing that makes an event: the time in their replies is that of the
/// last write of anybody. The second time they are sent.
fn misleading() -> Vec<(&'static str, Document)> {
    let local = |mut write: Document| {
        write.insert("$db", "local");
        write
    };
    let scratch = doc! {"q": {"_id": 1}, "u": {"$inc": {"n": 1}}, "upsert": true};
    let find_and_modify = doc! {"findAndModify": "c", "query": {"_id": 1}, "update": {"$inc": {"n": 1}}, "upsert": true};
    let numbered_update = doc! {"q": {"_id": 3}, "u": {"$inc": {"n": 1}}};
    vec![
        (
            "an update of local",
            local(one(doc! {"update": "c", "updates": [scratch]})),
        ),
        ("a findAndModify of local", local(one(find_and_modify))),
        ("an update that changes nothing", set(2, "same", 1)),
        (
            "an update that matches nothing",
            one(doc! {"update": "c", "updates": [{"q": {"_id": 99}, "u": {"$set": {"n": 1}}}]}),
        ),
        (
            "a delete of nothing",
            one(doc! {"delete": "c", "deletes": [{"q": {"_id": 99}, "limit": 1}]}),
        ),
        (
            "an insert that fails",
            one(doc! {"insert": "c", "documents": [{"_id": 4}], "ordered": true}),
        ),
        (
            "a repeated update",
            numbered(
                one(doc! {"update": "c", "updates": [numbered_update]}),
                1,
                1,
            ),
        ),
        (
            "a repeated insert",
            numbered(one(doc! {"insert": "c", "documents": [{"_id": 5}]}), 2, 1),
        ),
        (
            "a repeated delete",
            numbered(
                one(doc! {"delete": "c", "deletes": [{"q": {"_id": 6}, "limit": 1}]}),
                3,
                1,
            ),
        ),
    ]
}

async fn hold_back(rs: &Deployment, signal: Signal) {
    let primary = rs.primary_index().await.unwrap();
    for member in (0..3).filter(|&m| m != primary) {
        rs.signal(member, signal).unwrap();
    }
}

/// Waits until the watch has handled all that was written before.
fn passed(proxy: &Proxy) {
    let written = Instant::now();
    until("the watch has passed it", || {
        let since = written.elapsed().as_millis();
        let lag = proxy.status()["watch"]["lag_ms"].as_u64();
        lag.is_some_and(|lag| u128::from(lag) < since)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_of_others_is_taken_for_the_proxys_own() {
    let rs = deployment(MongodOptions::replica_set(3)).await;
    be_patient(&rs).await;
    // (Journals of batches know a repeated write too: here the server is to answer it.)
    let settings = [("batch.enabled", "false"), ("cache.shadow_share", "0.0")];
    let proxy = Proxy::start(&rs.uri(), &settings);
    let primary = rs.primary_index().await.unwrap();
    let mut direct = Asker::connect(&rs.addresses()[primary]).await;
    let mut through = Asker::connect(proxy.address()).await;
    let all = (1..=6)
        .filter(|&id| id != 5)
        .map(|id| doc! {"_id": id, "v": 0, "same": 1});
    let all: Vec<Document> = all.collect();
    direct
        .ask(&one(doc! {"insert": "c", "documents": all}))
        .await;
    let find = doc! {"find": "c", "filter": {"_id": 1}, "$db": "d"};
    for (v, (what, write)) in (1..).zip(misleading()) {
        through.reply(&write).await;
        until_async("a hit", async || through.ask(&find).await.hit).await;
        // What is written from here on makes its events late.
        hold_back(&rs, Signal::Stop).await;
        direct.ask(&set(1, "v", v)).await;
        through.reply(&write).await;
        hold_back(&rs, Signal::Cont).await;
        passed(&proxy);
        let mut seen = None;
        until_async("a hit", async || {
            let answer = through.ask(&find).await;
            seen = answer.batch()[0].get_i32("v").ok();
            answer.hit
        })
        .await;
        assert_eq!(seen, Some(v), "{what} hid another's write");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_of_an_own_write_ends_nothing_once_more() {
    let rs = deployment(MongodOptions::default()).await;
    let proxy = Proxy::start(&rs.uri(), &[("advice.enabled", "false")]);
    let mut through = Asker::connect(proxy.address()).await;
    let mut direct = Asker::connect(&rs.addresses()[0]).await;
    let mut inserted = 0;
    until_async("events come", async || {
        inserted += 1;
        through
            .ask(&one(
                doc! {"insert": "before", "documents": [{"_id": inserted}]},
            ))
            .await;
        proxy.count("/watch/events") > 0
    })
    .await;
    let upsert = doc! {"q": {"_id": 3}, "u": {"$set": {"a": 1}}, "upsert": true};
    let own = [
        one(doc! {"insert": "c", "documents": [{"_id": 1}]}),
        numbered(one(doc! {"insert": "c", "documents": [{"_id": 2}]}), 1, 1),
        one(doc! {"update": "c", "updates": [upsert]}),
        set(1, "a", 1),
        numbered(set(1, "a", 2), 1, 2),
        one(
            doc! {"update": "c", "updates": [{"q": {"a": 2}, "u": {"$inc": {"a": 1}}, "multi": true}]},
        ),
        one(doc! {"delete": "c", "deletes": [{"q": {"_id": 1}, "limit": 1}]}),
    ];
    direct.ask(&one(doc! {"create": "c"})).await;
    passed(&proxy);
    let before = proxy.count("/cache/invalidations");
    for write in &own {
        through.ask(write).await;
    }
    passed(&proxy);
    let after = proxy.count("/cache/invalidations");
    assert_eq!(after - before, own.len() as u64, "each write counts once");
}
