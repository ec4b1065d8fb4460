//! Every history through one proxy is linearizable (DESIGN §4).
//!
//! Each key is a register with one writer at a time, whose values only grow. A read may
//! not return less than what was acknowledged, or seen by anybody, before it began, nor
//! more than what had been sent when it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};

use bson::{Document, doc};
use mongodb::{Client, Collection};

use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::raw::{self, RawClient, Section};

const KEYS: usize = 12;
const WRITERS: usize = 2;
const READERS: usize = 8;
const READS: u64 = 30_000;

#[derive(Default)]
struct Register {
    sent: AtomicI64,
    /// The highest value that was acknowledged or read.
    known: AtomicI64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_never_see_the_past_whatever_the_kind_of_write() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[("cache.ttl", "\"1h\"")]);
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let c = client
        .database(&shared::database("coherence"))
        .collection::<Document>("c");
    let registers: Arc<Vec<Register>> = Arc::new((0..KEYS).map(|_| Register::default()).collect());
    for key in 0..KEYS as i32 {
        c.insert_one(doc! {"_id": key, "k": key, "v": 0_i64})
            .await
            .unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|w| {
            tokio::spawn(write(
                w,
                c.clone(),
                client.clone(),
                Arc::clone(&registers),
                Arc::clone(&reads),
                Arc::clone(&stop),
            ))
        })
        .collect();
    let readers: Vec<_> = (0..READERS)
        .map(|r| {
            tokio::spawn(read(
                r,
                c.clone(),
                Arc::clone(&registers),
                Arc::clone(&reads),
            ))
        })
        .collect();
    let mut violations = Vec::new();
    for reader in readers {
        violations.extend(reader.await.unwrap());
    }
    stop.store(true, SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(
        violations.is_empty(),
        "{} violations: {:?}",
        violations.len(),
        &violations[..violations.len().min(5)]
    );
    assert!(
        proxy.count("/cache/hits") > 100,
        "the cache took part: {}",
        proxy.status()
    );
    assert!(
        proxy.count("/cache/invalidations") > 100,
        "and so did the writers: {}",
        proxy.status()
    );
}

/// Owns the keys `w, w + WRITERS, …` and writes them in every way.
async fn write(
    w: usize,
    c: Collection<Document>,
    client: Client,
    registers: Arc<Vec<Register>>,
    reads: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    let db = client.database(&c.namespace().db);
    for round in 1_i64.. {
        if stop.load(SeqCst) {
            return;
        }
        for (turn, key) in (w..KEYS).step_by(WRITERS).enumerate() {
            let id = key as i32;
            registers[key].sent.store(round, SeqCst);
            match (round as usize + turn) % 8 {
                0 => drop(
                    c.update_one(doc! {"_id": id}, doc! {"$set": {"v": round}})
                        .await
                        .unwrap(),
                ),
                1 => drop(
                    c.update_many(doc! {"k": id}, doc! {"$max": {"v": round}})
                        .await
                        .unwrap(),
                ),
                2 => drop(
                    c.replace_one(doc! {"_id": id}, doc! {"k": id, "v": round})
                        .await
                        .unwrap(),
                ),
                3 => drop(
                    c.find_one_and_update(doc! {"k": id}, doc! {"$set": {"v": round}})
                        .await
                        .unwrap(),
                ),
                4 => {
                    let pipeline = vec![doc! {"$set": {"v": round}}];
                    drop(c.update_one(doc! {"_id": id}, pipeline).await.unwrap());
                }
                5 => {
                    let merge = vec![
                        doc! {"$match": {"_id": id}},
                        doc! {"$set": {"v": round}},
                        doc! {"$merge": {"into": c.name(), "whenMatched": "replace"}},
                    ];
                    drop(c.aggregate(merge).await.unwrap());
                }
                6 => {
                    let mut session = client.start_session().await.unwrap();
                    session.start_transaction().await.unwrap();
                    let set = doc! {"$set": {"v": round}};
                    c.update_one(doc! {"_id": id}, set)
                        .session(&mut session)
                        .await
                        .unwrap();
                    session.commit_transaction().await.unwrap();
                }
                _ => {
                    let updates =
                        vec![doc! {"q": {"_id": id}, "u": {"$set": {"v": round}}, "upsert": true}];
                    drop(
                        db.run_command(doc! {"update": c.name(), "updates": updates})
                            .await
                            .unwrap(),
                    );
                }
            }
            registers[key].known.fetch_max(round, SeqCst);
            // Room for hits: the next write waits for some reads.
            let next = reads.load(SeqCst) + 30;
            while reads.load(SeqCst) < next && !stop.load(SeqCst) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Reads keys in several shapes and checks what comes.
async fn read(
    r: usize,
    c: Collection<Document>,
    registers: Arc<Vec<Register>>,
    reads: Arc<AtomicU64>,
) -> Vec<String> {
    let mut violations = Vec::new();
    let mut n = r;
    while reads.fetch_add(1, SeqCst) < READS {
        n = n.wrapping_mul(31).wrapping_add(7);
        let key = n % KEYS;
        let id = key as i32;
        let least: Vec<i64> = registers.iter().map(|r| r.known.load(SeqCst)).collect();
        let found: Vec<Document> = match (n / KEYS) % 3 {
            0 => c
                .find_one(doc! {"_id": id})
                .await
                .unwrap()
                .into_iter()
                .collect(),
            1 => c
                .find_one(doc! {"k": id})
                .projection(doc! {"v": 1})
                .await
                .unwrap()
                .into_iter()
                .collect(),
            _ => {
                let mut cursor = c
                    .find(doc! {"k": {"$gte": 0}})
                    .sort(doc! {"_id": 1})
                    .await
                    .unwrap();
                let mut all = Vec::new();
                while cursor.advance().await.unwrap() {
                    all.push(cursor.deserialize_current().unwrap());
                }
                all
            }
        };
        for document in &found {
            let key = document.get_i32("_id").unwrap() as usize;
            let value = document.get_i64("v").unwrap();
            let most = registers[key].sent.load(SeqCst);
            if value < least[key] || value > most {
                violations.push(format!(
                    "key {key}: read {value}, known before {}, sent {most}",
                    least[key]
                ));
            }
            registers[key].known.fetch_max(value, SeqCst);
        }
        if found.is_empty() {
            violations.push(format!("key {key} is gone"));
        }
    }
    violations
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unacknowledged_write_is_seen_by_the_clients_next_read() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[("cache.ttl", "\"1h\"")]);
    let db = shared::database("unacknowledged");
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    let insert = doc! {"insert": "c", "documents": [{"_id": 1, "v": 0}], "$db": &db};
    client.command(&insert).await.unwrap();
    let find = doc! {"find": "c", "filter": {"_id": 1}, "$db": &db};
    for v in 1..50 {
        client.command(&find).await.unwrap();
        let set = doc! {"q": {"_id": 1}, "u": {"$set": {"v": v}}};
        let update = doc! {"update": "c", "updates": [set], "writeConcern": {"w": 0}, "$db": &db};
        client
            .send(raw::MORE_TO_COME, &[Section::Body(raw::encode(&update))])
            .await
            .unwrap();
        let reply = Document::try_from(&*client.command(&find).await.unwrap()).unwrap();
        let batch = reply
            .get_document("cursor")
            .unwrap()
            .get_array("firstBatch")
            .unwrap();
        assert_eq!(batch[0].as_document().unwrap().get_i32("v").ok(), Some(v));
    }
    assert!(proxy.count("/cache/stores") > 40, "{}", proxy.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_around_the_proxy_are_seen_after_the_ttl() {
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &[("cache.ttl", "\"300ms\"")]);
    let name = shared::database("around");
    let through = Client::with_uri_str(proxy.uri())
        .await
        .unwrap()
        .database(&name)
        .collection::<Document>("c");
    let around = Client::with_uri_str(rs.uri())
        .await
        .unwrap()
        .database(&name)
        .collection::<Document>("c");
    through.insert_one(doc! {"_id": 1, "v": 0}).await.unwrap();
    through.find_one(doc! {"_id": 1}).await.unwrap();
    around
        .update_one(doc! {"_id": 1}, doc! {"$set": {"v": 1}})
        .await
        .unwrap();
    let written = std::time::Instant::now();
    crate::parts::wait::until_async("the new value is seen", async || {
        through
            .find_one(doc! {"_id": 1})
            .await
            .unwrap()
            .unwrap()
            .get_i32("v")
            .ok()
            == Some(1)
    })
    .await;
    let bound = std::time::Duration::from_secs(5);
    assert!(
        written.elapsed() < bound,
        "seen only after {:?}",
        written.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_follows_the_collections_it_reads() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[("cache.ttl", "\"1h\"")]);
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let db = client.database(&shared::database("views"));
    let base = db.collection::<Document>("base");
    base.insert_one(doc! {"_id": 1, "v": 0}).await.unwrap();
    db.run_command(doc! {"create": "view", "viewOn": "base", "pipeline": []})
        .await
        .unwrap();
    let view = db.collection::<Document>("view");
    for v in 1..20 {
        base.update_one(doc! {"_id": 1}, doc! {"$set": {"v": v}})
            .await
            .unwrap();
        for _ in 0..2 {
            assert_eq!(
                view.find_one(doc! {})
                    .await
                    .unwrap()
                    .unwrap()
                    .get_i32("v")
                    .ok(),
                Some(v)
            );
        }
    }
    db.run_command(doc! {"collMod": "view", "viewOn": "base", "pipeline": [{"$set": {"v": 99}}]})
        .await
        .unwrap();
    assert_eq!(
        view.find_one(doc! {})
            .await
            .unwrap()
            .unwrap()
            .get_i32("v")
            .ok(),
        Some(99)
    );
    assert!(proxy.count("/cache/hits") >= 15, "{}", proxy.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_cut_off_by_a_crash_is_fenced_until_the_server_is_another_process() {
    let options = petiole::embedded::MongodOptions::standalone();
    let deployment = petiole::embedded::Deployment::start(options).await.unwrap();
    let settings = [
        ("cache.ttl", "\"1h\""),
        ("upstream.failover_wait", "\"30s\""),
    ];
    let proxy = Proxy::start(&deployment.seed_uri(), &settings);
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    client
        .command(&doc! {"insert": "c", "documents": [{"_id": 1}], "writeConcern": {"j": true}, "$db": "d"})
        .await
        .unwrap();
    let find = doc! {"find": "c", "filter": {"_id": 1}, "$db": "d"};
    client.command(&find).await.unwrap();
    client.command(&find).await.unwrap();
    assert_eq!(proxy.count("/cache/hits"), 1);
    let mut writer = RawClient::connect(proxy.address()).await.unwrap();
    let slow =
        doc! {"q": {"$where": "sleep(60000) || true"}, "u": {"$set": {"a": 1}}, "multi": true};
    let slow = doc! {"update": "c", "updates": [slow], "$db": "d"};
    let writing = tokio::spawn(async move { writer.command(&slow).await });
    crate::parts::wait::until("the write is under way", || {
        proxy.count("/pool/links") > proxy.count("/pool/idle")
    });
    deployment.kill(0).unwrap();
    let reply = Document::try_from(&*writing.await.unwrap().unwrap()).unwrap();
    assert_eq!(reply.get_i32("code").ok(), Some(6), "{reply}");
    assert_eq!(proxy.count("/fences/quarantined"), 1, "{}", proxy.status());
    deployment.restart(0).await.unwrap();
    crate::parts::wait::until("the fence ends with the process", || {
        proxy.count("/fences/quarantined") == 0
    });
    let before = proxy.count("/cache/hits");
    client.command(&find).await.unwrap();
    assert_eq!(
        proxy.count("/cache/hits"),
        before,
        "what was cached before the crash is void"
    );
    client.command(&find).await.unwrap();
    assert_eq!(
        proxy.count("/cache/hits"),
        before + 1,
        "and caching goes on"
    );
}
