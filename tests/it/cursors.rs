//! Results of several batches: drained once, then replayed from memory in batches of any size.
//!
//! What a cursor of the proxy's own answers is held against what the server answers in its place.

use bson::{Document, Uuid, doc};
use futures_util::TryStreamExt;
use mongodb::Client;

use crate::parts::asker::{Answer, Asker};
use crate::parts::proxy::Proxy;
use crate::parts::shared;

const DOCUMENTS: i32 = 330;

struct Place {
    proxy: Proxy,
    through: Asker,
    direct: Asker,
    db: String,
}

impl Place {
    async fn new() -> Place {
        let rs = shared::rs().await;
        let settings = [("cache.external_writes", "\"none\"")];
        let proxy = Proxy::start(&rs.seed_uri(), &settings);
        let through = Asker::connect(proxy.address()).await;
        let mut direct = Asker::connect(&rs.addresses()[0]).await;
        let db = shared::database("cursors");
        let documents: Vec<Document> = (0..DOCUMENTS)
            .map(|id| doc! {"_id": id, "a": id % 3, "s": "x".repeat(id as usize % 90)})
            .collect();
        let insert = doc! {"insert": "c", "documents": documents, "$db": &db};
        direct.ask(&insert).await;
        Place {
            proxy,
            through,
            direct,
            db,
        }
    }

    fn find(&self) -> Document {
        doc! {"find": "c", "filter": {"a": {"$lt": 2}}, "sort": {"_id": -1}, "$db": &self.db}
    }

    /// A find whose result is in memory.
    async fn stored(&mut self) -> Document {
        let find = self.find();
        self.through.drain(&find, Some(10)).await;
        find
    }

    /// The first batch of an open cursor from memory.
    async fn open(&mut self, find: &Document) -> Answer {
        let mut find = find.clone();
        find.insert("batchSize", 7);
        let answer = self.through.ask(&find).await;
        assert!(answer.hit && answer.cursor() > 0, "{:?}", answer.reply);
        answer
    }

    fn more(&self, id: i64) -> Document {
        doc! {"getMore": id, "collection": "c", "$db": &self.db}
    }

    fn kill(&self, id: i64) -> Document {
        doc! {"killCursors": "c", "cursors": [id], "$db": &self.db}
    }
}

/// An error without the numbers in it.
fn refusal(reply: &Document) -> (i32, String, String) {
    assert_eq!(reply.get_f64("ok").ok(), Some(0.0), "{reply}");
    let message = reply.get_str("errmsg").unwrap();
    let words = message.split(' ').filter(|w| w.parse::<i64>().is_err());
    (
        reply.get_i32("code").unwrap(),
        reply.get_str("codeName").unwrap().to_owned(),
        words.collect::<Vec<_>>().join(" "),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_client_has_drained_others_get_in_batches_of_their_own_size() {
    let mut place = Place::new().await;
    let mut limited = place.find();
    limited.insert("limit", 37);
    let mut projected = place.find();
    projected.insert("projection", doc! {"s": 0});
    let match_and_sort = vec![doc! {"$match": {"a": 1}}, doc! {"$sort": {"_id": 1}}];
    let aggregate =
        doc! {"aggregate": "c", "pipeline": match_and_sort, "cursor": {}, "$db": &place.db};
    for read in [place.find(), limited, projected, aggregate] {
        let (expected, _) = place.direct.drain(&read, None).await;
        let stores = place.proxy.count("/cache/stores");
        let (drained, sizes) = place.through.drain(&read, Some(10)).await;
        assert_eq!(drained, expected);
        assert!(sizes.len() > 3, "{sizes:?}");
        assert_eq!(place.proxy.count("/cache/stores"), stores + 1, "{read}");
        let mut other = Asker::connect(place.proxy.address()).await;
        for size in [Some(7), None, Some(0), Some(1), Some(10_000)] {
            let hits = place.proxy.count("/cache/hits");
            let (replayed, sizes) = other.drain(&read, size).await;
            assert_eq!(replayed, expected, "{size:?}: {read}");
            assert_eq!(
                place.proxy.count("/cache/hits"),
                hits + 1,
                "{size:?}: {read}"
            );
            let first = size.map_or(101, |size| size as usize).min(expected.len());
            assert_eq!(sizes[0], first, "{size:?}");
            if size == Some(7) {
                let full = &sizes[..sizes.len() - 1];
                assert!(full.iter().all(|&n| n == 7), "{sizes:?}");
            }
        }
        assert_eq!(place.proxy.count("/cache/cursors"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_reads_a_replayed_result_as_it_reads_the_servers() {
    let place = Place::new().await;
    let read = async |uri: String, size: u32| {
        let client = Client::with_uri_str(uri).await.unwrap();
        let c = client.database(&place.db).collection::<Document>("c");
        let find = c.find(doc! {"a": {"$lt": 2}}).sort(doc! {"_id": -1});
        let cursor = find.batch_size(size).await.unwrap();
        cursor.try_collect::<Vec<Document>>().await.unwrap()
    };
    let expected = read(shared::rs().await.uri(), 50).await;
    assert_eq!(expected.len(), 220);
    assert_eq!(read(place.proxy.uri(), 10).await, expected);
    let hits = place.proxy.count("/cache/hits");
    for size in [7, 101, 1000] {
        assert_eq!(read(place.proxy.uri(), size).await, expected);
    }
    assert_eq!(place.proxy.count("/cache/hits"), hits + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_cursor_is_gone_as_it_is_on_the_server() {
    let mut place = Place::new().await;
    let find = place.stored().await;
    let own = place.open(&find).await.cursor();
    let mut first = find.clone();
    first.insert("batchSize", 7);
    let theirs = place.direct.ask(&first).await.cursor();
    let mut answers = Vec::new();
    for (id, through) in [(own, true), (theirs, false)] {
        let (kill, more) = (place.kill(id), place.more(id));
        let asker = if through {
            &mut place.through
        } else {
            &mut place.direct
        };
        let mut killed = asker.ask(&kill).await.reply;
        let list = killed.get_array("cursorsKilled").unwrap();
        assert_eq!(list, &[id.into()]);
        for key in ["cursorsKilled", "$clusterTime", "operationTime"] {
            killed.remove(key);
        }
        let refused = refusal(&asker.reply(&more).await);
        let again = asker.ask(&kill).await.reply;
        assert_eq!(again.get_array("cursorsNotFound").unwrap(), &[id.into()]);
        answers.push((killed, refused));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].1.0, 43, "CursorNotFound");
    assert_eq!(place.proxy.count("/cache/cursors"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_refuses_another_session_as_the_servers_does() {
    let mut place = Place::new().await;
    place.stored().await;
    let session = || doc! {"id": Uuid::new()};
    let (one, other) = (session(), session());
    let cases = [
        (Some(&one), Some(&other)),
        (Some(&one), None),
        (None, Some(&one)),
    ];
    for (opens, asks) in cases {
        let mut find = place.find();
        find.insert("batchSize", 7);
        if let Some(lsid) = opens {
            find.insert("lsid", lsid);
        }
        let own = place.through.ask(&find).await;
        assert!(own.hit);
        let theirs = place.direct.ask(&find).await.cursor();
        let mut refusals = Vec::new();
        for (id, through) in [(own.cursor(), true), (theirs, false)] {
            let mut more = place.more(id);
            if let Some(lsid) = asks {
                more.insert("lsid", lsid);
            }
            let asker = if through {
                &mut place.through
            } else {
                &mut place.direct
            };
            let (code, name, _) = refusal(&asker.reply(&more).await);
            refusals.push((code, name));
            // It is none the worse for it.
            more.remove("lsid");
            if let Some(lsid) = opens {
                more.insert("lsid", lsid);
            }
            assert_eq!(asker.ask(&more).await.batch().len(), 213);
        }
        assert_eq!(refusals[0], refusals[1], "{opens:?} {asks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_refuses_a_transaction_as_the_servers_does() {
    let mut place = Place::new().await;
    place.stored().await;
    let mut refusals = Vec::new();
    for through in [true, false] {
        let lsid = doc! {"id": Uuid::new()};
        let mut find = place.find();
        find.extend(doc! {"batchSize": 7, "lsid": &lsid});
        let in_transaction = doc! {"lsid": &lsid, "txnNumber": 1_i64, "autocommit": false};
        let mut starts = doc! {"find": "other", "$db": &place.db, "startTransaction": true};
        starts.extend(in_transaction.clone());
        let asker = if through {
            &mut place.through
        } else {
            &mut place.direct
        };
        let opened = asker.ask(&find).await;
        assert_eq!(opened.hit, through);
        asker.ask(&starts).await;
        let mut more = doc! {"getMore": opened.cursor(), "collection": "c", "$db": &place.db};
        more.extend(in_transaction);
        let (code, name, _) = refusal(&asker.reply(&more).await);
        refusals.push((code, name));
    }
    assert_eq!(refusals[0], refusals[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_its_session_ends_a_cursor() {
    let mut place = Place::new().await;
    place.stored().await;
    let (ended, other) = (doc! {"id": Uuid::new()}, doc! {"id": Uuid::new()});
    let mut cursors = Vec::new();
    for lsid in [&ended, &other] {
        let mut find = place.find();
        find.insert("lsid", lsid);
        cursors.push(place.open(&find).await.cursor());
    }
    let end = doc! {"endSessions": [&ended], "$db": "admin"};
    place.through.ask(&end).await;
    let mut more = place.more(cursors[0]);
    more.insert("lsid", &ended);
    let refused = place.through.reply(&more).await;
    assert_eq!(refused.get_i32("code").unwrap(), 43, "{refused}");
    let mut more = place.more(cursors[1]);
    more.insert("lsid", &other);
    assert_eq!(place.through.ask(&more).await.batch().len(), 213);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_while_a_result_is_fetched_keeps_it_out_and_a_later_one_ends_it() {
    let mut place = Place::new().await;
    let update = |id: i32, v: i32| doc! {"update": "c", "updates": [{"q": {"_id": id}, "u": {"$set": {"v": v}}}], "$db": &place.db};
    let (first, second) = (update(327, 1), update(327, 2));
    let mut find = place.find();
    find.insert("batchSize", 10);
    let mut writer = Asker::connect(place.proxy.address()).await;
    // While it is fetched: what has been fetched changes.
    let stores = place.proxy.count("/cache/stores");
    let mut answer = place.through.ask(&find).await;
    assert_eq!(answer.batch()[1].get_i32("_id").unwrap(), 327);
    writer.ask(&first).await;
    while answer.cursor() != 0 {
        answer = place.through.ask(&place.more(answer.cursor())).await;
    }
    assert_eq!(place.proxy.count("/cache/stores"), stores);
    // While it is replayed: this cursor goes on, another begins anew.
    let find = place.stored().await;
    let (expected, _) = place.direct.drain(&find, None).await;
    let opened = place.open(&find).await;
    writer.ask(&second).await;
    let rest = place
        .through
        .ask(&place.more(opened.cursor()))
        .await
        .batch();
    assert_eq!([opened.batch(), rest].concat(), expected);
    let fresh = place.through.ask(&find).await;
    assert!(!fresh.hit);
    let changed = fresh.batch().iter().find(|d| d.contains_key("v")).cloned();
    assert_eq!(changed.unwrap().get_i32("v").unwrap(), 2);
}
