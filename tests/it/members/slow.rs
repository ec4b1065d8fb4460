//! A member that answers many times slower than it did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use petiole::config::Config;
use petiole::upstream::{Act, Rule};

use super::Set;
use crate::parts::asker::Asker;
use crate::parts::in_process::{self, faults};
use crate::parts::{shared, wait};
use crate::raw::{RawClient, Section, encode};

fn is_ok(reply: &Document) -> bool {
    reply.get_f64("ok").ok() == Some(1.0)
}

/// What a crowd has sent, and what came of it at the server.
#[derive(Debug)]
struct Load {
    sent: u64,
    arrived: i64,
    gave_up: u64,
    retried: u64,
    took: Duration,
}

impl Load {
    /// What arrived of each request; without the one retry a second that an empty budget grants.
    fn ratio(&self) -> f64 {
        (self.arrived as f64 - self.took.as_secs_f64()) / self.sent as f64
    }
}

/// Sixteen clients at a primary that has become slow and loses two links of five: they read and
/// write, some with a time limit, some leave before they have their answer.
async fn crowd(set: &Set, change: impl FnOnce(&mut Config)) -> Load {
    let (primary, _) = set.roles().await;
    let db = shared::database("slow");
    set.fill(&db, "c").await;
    let proxy = in_process::start(&set.deployment.seed_uri(), |config| {
        config.batch.enabled = false;
        change(config);
    })
    .await;
    let passed = AtomicU64::new(0);
    faults(&proxy).arm(Rule::every(Act::DropReply, move |p| {
        matches!(p.command.name(), "find" | "update") && passed.fetch_add(1, Relaxed) % 5 < 2
    }));
    let namespace = format!("{db}.c");
    let before = set.slow_down(primary, Some(&namespace), 20).await;
    let began = Instant::now();
    let address = proxy.address().to_string();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (address, db) = (address.clone(), db.clone());
            tokio::spawn(async move { requests(&address, &db, n).await })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    wait::until("those who left are forgotten", || {
        let pool = proxy.shared().upstream.pool();
        pool.idle == pool.links
    });
    let after = set.recover(primary).await;
    let retry = proxy.shared().retry.as_ref().unwrap();
    Load {
        sent: CLIENTS * REQUESTS,
        arrived: after - before,
        gave_up: retry.stats().given_up(),
        retried: retry.stats().reads() + retry.stats().writes(),
        took: began.elapsed(),
    }
}

async fn requests(address: &str, db: &str, client: u64) {
    let mut connection = RawClient::connect(address).await.unwrap();
    for n in 0..REQUESTS {
        let mut command = match (client + n) % 3 {
            0 => {
                doc! {"update": "c", "updates": [{"q": {"_id": client as i64}, "u": {"$inc": {"n": 1}}, "upsert": true}]}
            }
            _ => doc! {"find": "c", "filter": {"_id": 1}},
        };
        if n % 4 == 0 {
            command.insert("maxTimeMS", 5_000);
        }
        command.insert("$db", db);
        let section = Section::Body(encode(&command));
        connection.send(0, &[section]).await.unwrap();
        if n % 10 == 9 {
            connection = RawClient::connect(address).await.unwrap();
        } else {
            // (Once the tries are used up, the connection is closed.)
            if connection.receive().await.is_err() {
                connection = RawClient::connect(address).await.unwrap();
            }
        }
    }
}

const CLIENTS: u64 = 16;
const REQUESTS: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_that_fails_gets_hardly_more_than_clients_have_sent() {
    let set = Set::new().await;
    let by_default = crowd(&set, |_| {}).await;
    assert!(
        by_default.retried >= 20 && by_default.gave_up > 20,
        "{by_default:?}"
    );
    assert!(by_default.ratio() <= 1.2, "{by_default:?}");
    let unbounded = crowd(&set, |config| {
        config.retry.budget = 100_000;
        config.retry.budget_share = 1.0;
    })
    .await;
    // What the budget is for.
    assert!(unbounded.ratio() > 1.2, "{unbounded:?}");
    println!(
        "of {} requests arrived {} with {} retries; without a budget {} with {}",
        by_default.sent,
        by_default.arrived,
        by_default.retried,
        unbounded.arrived,
        unbounded.retried
    );
}

/// Clients that keep reading at the primary, until they are told to stop.
struct Readers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Readers {
    /// So many of them, each in the collection that `name` says.
    fn start(address: &str, db: &str, count: usize, name: impl Fn(usize) -> String) -> Readers {
        let stop = Arc::new(AtomicBool::new(false));
        let reader = |n: usize| {
            let (stop, address) = (Arc::clone(&stop), address.to_owned());
            let find = doc! {"find": name(n), "$db": db};
            tokio::spawn(async move {
                let mut client = Asker::connect(&address).await;
                while !stop.load(Relaxed) {
                    client.reply(&find).await;
                }
            })
        };
        Readers {
            tasks: (0..count).map(reader).collect(),
            stop,
        }
    }

    async fn stop(self) {
        self.stop.store(true, Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Reads the collection `quick` at members that are so, while readers of `name` hold all that they can
/// of the primary, which is slow.
async fn read_beside_a_slow_primary(name: impl Fn(usize) -> String) {
    let set = Set::new().await;
    let (primary, _) = set.roles().await;
    let db = shared::database("others");
    set.fill(&db, "quick").await;
    let proxy = in_process::start(&set.deployment.seed_uri(), |config| {
        config.upstream.max_links = 8;
        config.upstream.wait_timeout = Duration::from_millis(500);
    })
    .await;
    set.slow_down(primary, None, 2_000).await;
    let address = proxy.address().to_string();
    let readers = Readers::start(&address, &db, 24, name);
    wait::until("the primary has its share", || {
        proxy.shared().upstream.admission().queued > 8
    });
    let mut client = Asker::connect(&address).await;
    let mut find = doc! {"find": "quick", "$db": &db};
    find.insert("$readPreference", doc! {"mode": "secondary"});
    for _ in 0..50 {
        let reply = client.reply(&find).await;
        assert!(is_ok(&reply), "{reply}");
    }
    let ping = doc! {"ping": 1, "$db": "admin"};
    let reply = client.reply(&ping).await;
    assert!(is_ok(&reply), "at the primary itself: {reply}");
    set.recover(primary).await;
    readers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_member_is_slow_the_others_are_read_from() {
    read_beside_a_slow_primary(|n| format!("c{n}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_member_is_slow_the_same_collection_is_read_from_the_others() {
    read_beside_a_slow_primary(|_| "quick".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_members_that_would_do_the_slow_one_gets_less() {
    let set = Set::new().await;
    let (_, [slow, quick]) = set.roles().await;
    let db = shared::database("less");
    set.fill(&db, "c").await;
    let proxy = in_process::start(&set.deployment.seed_uri(), |config| {
        config.upstream.local_threshold = Duration::from_secs(10);
    })
    .await;
    let namespace = format!("{db}.c");
    let before = [
        set.slow_down(slow, Some(&namespace), 200).await,
        set.slow_down(quick, Some(&namespace), 1).await,
    ];
    let address = proxy.address().to_string();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (address, db) = (address.clone(), db.clone());
            tokio::spawn(async move {
                let mut client = Asker::connect(&address).await;
                for _ in 0..100 {
                    let mut find = doc! {"find": "c", "$db": &db};
                    find.insert("$readPreference", doc! {"mode": "secondary"});
                    assert!(is_ok(&client.reply(&find).await));
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let after = [set.recover(slow).await, set.recover(quick).await];
    let [slow, quick] = [after[0] - before[0], after[1] - before[1]];
    assert!(slow >= 1 && quick > 3 * slow, "slow {slow}, quick {quick}");
}
