//! What leaks is named, within its window; what doesn't isn't.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bson::doc;
use petiole::config::Config;
use petiole::memory::{Kind, Leak};

use crate::parts::asker::Asker;
use crate::parts::{shared, wait};

const WINDOW: Duration = Duration::from_secs(16);
/// Between two turns of the traffic; what is late is caught up with, so that it is steady.
const PAUSE: Duration = Duration::from_millis(160);

#[tokio::test(flavor = "multi_thread")]
async fn what_leaks_is_named_within_its_window_and_what_does_not_is_not() {
    let rs = shared::rs().await;
    let db = shared::database("leak");
    let mut config = Config::default();
    config.upstream.uri = petiole::config::UpstreamUri::new(rs.seed_uri());
    config.server.listen = petiole::proxy::any_port();
    config.admin.listen = None;
    config.cache.external_writes = petiole::config::ExternalWrites::None;
    config.memory.leak_window = WINDOW;
    let proxy = petiole::proxy::Proxy::start(config).await.unwrap();
    assert!(proxy.ready(wait::PATIENCE).await);
    let address = proxy.address().to_string();
    let memory = Arc::clone(&proxy.shared().memory);
    let leaking = [
        Kind::Clients,
        Kind::Leases,
        Kind::Cursors,
        Kind::Flights,
        Kind::Fences,
        Kind::Batches,
        Kind::Transactions,
    ];
    // (Other tests of this process make its own memory grow.)
    let named = || -> Vec<Leak> {
        let leaks = memory.report().leaks;
        leaks.into_iter().filter(|l| l.kind != "other").collect()
    };
    // (Acknowledged by a majority: a transaction needs the collection in its snapshot.)
    let create = doc! {"create": "c", "writeConcern": {"w": "majority"}, "$db": &db};
    Asker::connect(&address).await.ask(&create).await;
    let mut pace = tokio::time::interval(PAUSE);
    let mut turn = 0;
    // The same traffic, first without a leak.
    let sound = Instant::now();
    while sound.elapsed() < WINDOW + WINDOW / 8 {
        pace.tick().await;
        traffic(&address, &db, &mut turn).await;
        assert!(named().is_empty(), "{:?}", named());
    }
    for kind in leaking {
        memory.leak(kind);
    }
    let began = SystemTime::now();
    let waiting = Instant::now();
    // Since when the traffic has been steady, beside whatever else the machine does.
    let mut steady = began;
    while named().len() < leaking.len() && waiting.elapsed() < 2 * WINDOW + wait::PATIENCE {
        let planned = pace.tick().await;
        traffic(&address, &db, &mut turn).await;
        if planned.elapsed() > WINDOW / 32 {
            steady = SystemTime::now();
        }
    }
    let named = named();
    for kind in leaking {
        let leak = named.iter().find(|leak| leak.kind == kind.as_str());
        let leak = leak.unwrap_or_else(|| panic!("{kind:?} isn't named: {:?}", memory.report()));
        // By the proxy's own clock: it is found by looks, of which there are 96 in a window.
        let took = leak.noticed.duration_since(steady).unwrap_or_default();
        println!("{} named after {took:?} of steady growth", leak.kind);
        assert!(took <= WINDOW + WINDOW / 96, "{leak:?}, {took:?}");
        // (Its stretch may begin a moment before the leak does.)
        assert!(leak.since + WINDOW / 8 >= began, "{leak:?}");
    }
    assert_eq!(named.len(), leaking.len(), "nothing else leaks: {named:?}");
}

/// A bit of everything: connections, misses, cursors, writes, transactions. (A turn is to be over before the next one,
/// so the writes wait for no journal.)
async fn traffic(address: &str, db: &str, turn: &mut i32) {
    *turn += 1;
    let mut asker = Asker::connect(address).await;
    let base = *turn * 10;
    for id in base..base + 5 {
        let insert = doc! {"insert": "c", "documents": [{"_id": id, "a": id}], "writeConcern": {"w": 1}, "$db": db};
        asker.ask(&insert).await;
    }
    let find = doc! {"find": "c", "filter": {"_id": {"$gte": base, "$lt": base + 5}}, "batchSize": 100, "$db": db};
    asker.ask(&find).await;
    let mut begun = find.clone();
    begun.insert("batchSize", 2);
    let cursor = asker.ask(&begun).await.cursor();
    if cursor != 0 {
        asker
            .ask(&doc! {"killCursors": "c", "cursors": [cursor], "$db": db})
            .await;
    }
    let lsid = doc! {"id": bson::Uuid::new()};
    let statement = doc! {"update": "c", "updates": [{"q": {"_id": base}, "u": {"$set": {"b": 1}}}], "lsid": &lsid,
    "txnNumber": 1_i64, "autocommit": false, "startTransaction": true, "$db": db};
    asker.ask(&statement).await;
    let commit = doc! {"commitTransaction": 1, "lsid": &lsid, "txnNumber": 1_i64, "autocommit": false,
    "writeConcern": {"w": 1}, "$db": "admin"};
    asker.ask(&commit).await;
}
