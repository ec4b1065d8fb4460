//! Causally consistent sessions across proxies (docs/coherence.md, rule 9).
//!
//! One session hops between two proxies before one replica set, as a driver whose application has
//! several: each command carries the latest `operationTime` and `$clusterTime` that the session has
//! seen. Its reads must see its own writes, and all that others had written up to the time they carry.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use bson::{Document, Timestamp, Uuid, doc};
use petiole::embedded::{Deployment, MongodOptions};

use crate::parts::asker::{Answer, Asker};
use crate::parts::proxy::Proxy;
use crate::parts::wait::until;

const KEYS: i32 = 6;

/// A causally consistent session with several doors to one deployment.
struct Session {
    db: String,
    lsid: Document,
    time: Timestamp,
    cluster: Option<Document>,
    doors: Vec<Asker>,
    /// The time that the last read of this kind through this door waited for, where the server
    /// answered it.
    filled: HashMap<(usize, String), Timestamp>,
    reads: u32,
    hits: u32,
    /// Hits of entries that were filled for an earlier time: the watch has passed the later one.
    passed: u32,
}

impl Session {
    async fn new(proxies: &[Proxy], db: &str) -> Session {
        let mut doors = Vec::new();
        for proxy in proxies {
            doors.push(Asker::connect(proxy.address()).await);
        }
        let mut session = Session {
            db: db.to_owned(),
            lsid: doc! {"id": Uuid::new()},
            time: Timestamp {
                time: 0,
                increment: 0,
            },
            cluster: None,
            doors,
            filled: HashMap::new(),
            reads: 0,
            hits: 0,
            passed: 0,
        };
        session.run(0, doc! {"ping": 1}).await;
        session
    }

    /// Sends a command, and learns from its reply what time it is.
    async fn run(&mut self, door: usize, mut command: Document) -> Answer {
        command.insert("lsid", &self.lsid);
        if let Some(cluster) = &self.cluster {
            command.insert("$clusterTime", cluster);
        }
        command.insert("$db", &self.db);
        let answer = self.doors[door].ask(&command).await;
        let time = answer.reply.get_timestamp("operationTime").unwrap();
        self.time = self.time.max(time);
        if let Ok(cluster) = answer.reply.get_document("$clusterTime") {
            let of = |c: &Document| c.get_timestamp("clusterTime").unwrap();
            if self
                .cluster
                .as_ref()
                .is_none_or(|known| of(known) < of(cluster))
            {
                self.cluster = Some(cluster.clone());
            }
        }
        answer
    }

    /// Reads after all that the session has seen.
    async fn read(&mut self, door: usize, command: &Document) -> Answer {
        let kind = (door, command.to_string());
        let after = self.time;
        let mut command = command.clone();
        command.insert("readConcern", doc! {"afterClusterTime": after});
        let answer = self.run(door, command).await;
        self.reads += 1;
        if answer.hit {
            self.hits += 1;
            self.passed += u32::from(self.filled.get(&kind).is_some_and(|&t| t < after));
        } else {
            self.filled.insert(kind, after);
        }
        answer
    }

    /// The values by key that a read finds.
    async fn values(&mut self, door: usize, command: &Document) -> HashMap<i32, i64> {
        let found = self.read(door, command).await.batch();
        let pair = |d: &Document| (d.get_i32("_id").unwrap(), d.get_i64("v").unwrap());
        found.iter().map(pair).collect()
    }

    fn report(&self) {
        let Session {
            reads,
            hits,
            passed,
            ..
        } = self;
        println!(
            "{reads} reads, {hits} hits, of these {passed} after the watch had passed their time"
        );
    }
}

/// How a key is read.
fn reading(kind: u32, key: i32) -> Document {
    match kind % 4 {
        0 => doc! {"find": "c", "filter": {"_id": key}},
        1 => doc! {"find": "c", "filter": {"k": key}, "projection": {"v": 1}},
        2 => doc! {"aggregate": "c", "pipeline": [{"$match": {"k": key}}], "cursor": {}},
        _ => doc! {"find": "c", "filter": {"k": {"$gte": 0}}, "sort": {"_id": 1}},
    }
}

/// How a key is written.
fn writing(kind: u32, key: i32, v: i64) -> Document {
    let update = |u: Document| doc! {"update": "c", "updates": [u]};
    match kind % 5 {
        0 => update(doc! {"q": {"_id": key}, "u": {"$set": {"v": v}}}),
        1 => update(doc! {"q": {"k": key}, "u": {"$max": {"v": v}}, "multi": true}),
        2 => update(doc! {"q": {"_id": key}, "u": {"k": key, "v": v}}),
        3 => update(doc! {"q": {"_id": key}, "u": [{"$set": {"v": v}}]}),
        _ => {
            doc! {"findAndModify": "c", "query": {"k": key}, "update": {"$set": {"v": v}}, "new": true}
        }
    }
}

/// Two proxies with the default configuration, and a database with all keys.
async fn before(rs: &Deployment) -> Vec<Proxy> {
    let proxies = [(), ()].map(|()| Proxy::start(&rs.uri(), &[]));
    let documents: Vec<Document> = (0..KEYS)
        .map(|key| doc! {"_id": key, "k": key, "v": 0_i64})
        .collect();
    let mut asker = Asker::connect(proxies[0].address()).await;
    let insert =
        doc! {"insert": "c", "documents": documents, "writeConcern": {"w": "majority"}, "$db": "d"};
    asker.ask(&insert).await;
    for proxy in &proxies {
        until("it watches", || {
            proxy.status()["watch"]["state"] == "watching"
        });
    }
    proxies.into()
}

/// Waits until the watch of each proxy has handled all that has been written until now.
fn watched(proxies: &[Proxy]) {
    let written = Instant::now();
    for proxy in proxies {
        until("the watch has come so far", || {
            let age = written.elapsed().as_millis();
            let lag = proxy.status()["watch"]["lag_ms"].as_u64();
            lag.is_some_and(|lag| u128::from(lag) < age)
        });
    }
}

async fn own_writes_are_read(rs: &Deployment, writes: u32, reads_each: u32) {
    let proxies = before(rs).await;
    let mut session = Session::new(&proxies, "d").await;
    let mut values = vec![0_i64; KEYS as usize];
    for n in 0..writes {
        let key = (n as i32 * 5) % KEYS;
        let v = i64::from(n) + 1;
        session.run(n as usize % 2, writing(n, key, v)).await;
        values[key as usize] = v;
        for hop in 0..reads_each {
            // First what was written, at the other door.
            let asked = if hop < 4 {
                key
            } else {
                (hop * 7 + n) as i32 % KEYS
            };
            let door = (n + hop + 1) as usize % 2;
            let found = session.values(door, &reading(hop / 2, asked)).await;
            assert!(found.contains_key(&asked), "{found:?}");
            for (key, v) in found {
                assert_eq!(v, values[key as usize], "key {key}, write {n}, hop {hop}");
            }
        }
        if n % 8 == 0 {
            // What is in memory stays right while the session's time goes on, and is served again
            // once the watch has come to that time.
            let mut round = Vec::new();
            for hop in 0..reads_each {
                round.push((hop as usize % 2, reading(hop / 2, hop as i32 % KEYS)));
            }
            for (door, read) in &round {
                session.values(*door, read).await;
            }
            session
                .run(0, doc! {"insert": "other", "documents": [{}]})
                .await;
            watched(&proxies);
            for (door, read) in &round {
                for (key, v) in session.values(*door, read).await {
                    assert_eq!(v, values[key as usize], "key {key}, write {n}");
                }
            }
        }
    }
    session.report();
    assert!(session.hits > session.reads / 5, "{} hits", session.hits);
    assert!(
        session.passed > session.reads / 20,
        "{} passed",
        session.passed
    );
    for proxy in &proxies {
        assert_eq!(proxy.count("/cache/shadow/mismatches"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_hops_between_proxies_reads_its_own_writes() {
    let rs = Deployment::start(MongodOptions::default()).await.unwrap();
    own_writes_are_read(&rs, 120, 24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_hops_between_proxies_reads_its_own_writes_on_three_members() {
    let rs = Deployment::start(MongodOptions::replica_set(3))
        .await
        .unwrap();
    own_writes_are_read(&rs, 60, 24).await;
}

/// That reads never go backwards follows only as far as mongod's `operationTime` goes: a local read
/// may show a write that is a moment later than that (seen here: time 3 in a reply of time 2).
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_hops_between_proxies_sees_all_that_was_written_up_to_its_time() {
    const READS: u64 = 4000;
    let rs = Deployment::start(MongodOptions::default()).await.unwrap();
    let proxies = before(&rs).await;
    let reads = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    // Others write through one of the proxies, and around both, often the same at once.
    let addresses = [proxies[1].address().to_owned(), rs.addresses()[0].clone()];
    let writers = addresses.map(|address| {
        let (reads, stop) = (Arc::clone(&reads), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut asker = Asker::connect(&address).await;
            let mut written = Vec::new();
            while !stop.load(SeqCst) {
                let key = written.len() as i32 % KEYS;
                let update = doc! {"q": {"k": key}, "u": {"$inc": {"v": 1_i64}}};
                let update = doc! {"update": "c", "updates": [update], "$db": "d"};
                let reply = asker.ask(&update).await.reply;
                let applied = reply.get_document("opTime").unwrap();
                written.push((key, applied.get_timestamp("ts").unwrap()));
                // Room for hits.
                let next = reads.load(SeqCst) + 50;
                while reads.load(SeqCst) < next && !stop.load(SeqCst) {
                    tokio::task::yield_now().await;
                }
            }
            written
        })
    });
    let mut session = Session::new(&proxies, "d").await;
    let mut seen = Vec::new();
    for n in 0..READS {
        let read = reading((n / 5) as u32, (n % 7) as i32 % KEYS);
        let after = session.time;
        let values = session.values((n % 2) as usize, &read).await;
        seen.extend(values.into_iter().map(|(key, v)| (n, after, key, v)));
        reads.fetch_add(1, SeqCst);
        if n % 200 == 100 {
            // (The writers wait for the reader.)
            watched(&proxies);
        }
    }
    stop.store(true, SeqCst);
    let mut written: HashMap<i32, Vec<Timestamp>> = HashMap::new();
    for writer in writers {
        for (key, time) in writer.await.unwrap() {
            written.entry(key).or_default().push(time);
        }
    }
    for (n, after, key, v) in seen {
        let times = written.get(&key).map_or(&[][..], Vec::as_slice);
        let least = times.iter().filter(|&&time| time <= after).count() as i64;
        assert!(
            v >= least,
            "read {n} after {after}: key {key} is {v}, not {least}"
        );
        assert!(v <= times.len() as i64);
    }
    session.report();
    let writes: usize = written.values().map(Vec::len).sum();
    assert!(writes > 40, "{writes} writes");
    assert!(session.hits > session.reads / 5, "{} hits", session.hits);
    assert!(
        session.passed > session.reads / 50,
        "{} passed",
        session.passed
    );
}
