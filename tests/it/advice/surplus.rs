//! Indexes that can go, and those that must not be named.

use bson::{Document, doc};
use petiole::embedded::{Deployment, MongodOptions};

use super::load::{Ask, ONE_BY_ONE, below, fill, mix, summary, until_advised};
use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;

const ASKS: &[Ask] = &[
    Ask {
        name: "by a",
        make: |db, seed| doc! {"find": "c", "filter": {"a": below(500, seed, 0)}, "$db": db},
    },
    Ask {
        name: "by h",
        make: |db, seed| doc! {"find": "c", "filter": {"h": below(500, seed, 0)}, "$db": db},
    },
];

fn document(n: u64) -> Document {
    let n64 = i64::try_from(n).unwrap();
    doc! {"a": below(500, n, 1), "h": below(500, n, 2), "b": n64, "c": mix(n) as i32, "u": n64, "t": bson::DateTime::now(), "idle": 1}
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_nobody_needs_is_advised_to_go() {
    let _alone = ONE_BY_ONE.lock().await;
    let deployment = Deployment::start(MongodOptions::default())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let db = "surplus";
    fill(&deployment, db, "c", 5_000, document).await;
    let mut direct = Asker::connect(&deployment.addresses()[0]).await;
    let indexes = vec![
        doc! {"key": {"a": 1}, "name": "a"},
        doc! {"key": {"a": 1, "b": -1}, "name": "a_b"},
        doc! {"key": {"u": 1}, "name": "unique", "unique": true},
        doc! {"key": {"t": 1}, "name": "ttl", "expireAfterSeconds": 86_400},
        doc! {"key": {"idle": 1}, "name": "idle"},
        doc! {"key": {"c": 1}, "name": "hinted"},
        doc! {"key": {"h": 1}, "name": "hidden", "hidden": true},
    ];
    direct
        .ask(&doc! {"createIndexes": "c", "indexes": indexes, "$db": db})
        .await;
    let settings = [
        ("cache.enabled", "false"),
        ("advice.interval", "\"500ms\""),
        ("advice.explain_share", "1.0"),
        ("advice.unused_after", "\"5s\""),
    ];
    let proxy = Proxy::start(&deployment.seed_uri(), &settings);
    // Asked for once by name: who hints at an index needs it.
    let mut asker = Asker::connect(proxy.address()).await;
    asker
        .ask(&doc! {"find": "c", "filter": {"c": 5}, "hint": "hinted", "$db": db})
        .await;
    let advice = until_advised(&proxy, db, ASKS, |advice| {
        let lines = summary(advice);
        for name in ["_id_", "unique", "ttl", "hinted"] {
            let named = format!("\"{name}\"");
            assert!(!lines.iter().any(|l| l.contains(&named)), "{lines:?}");
        }
        // A hidden index isn't used by anybody: that is no reason to drop the one that is to be shown again.
        let has = |line: &str| lines.iter().any(|l| l == line);
        let shown = has(r#"unhide c "hidden""#);
        assert!(!(shown && has(r#"drop c "hidden""#)), "{lines:?}");
        shown && has(r#"drop c "idle""#)
    })
    .await;
    // Of the two that begin alike the planner uses one: that one isn't to be dropped.
    let stats = doc! {"aggregate": "c", "pipeline": [{"$indexStats": {}}], "cursor": {}, "$db": db};
    let uses = direct.ask(&stats).await.batch();
    let used = |name: &str| {
        let of = uses
            .iter()
            .find(|one| one.get_str("name").ok() == Some(name));
        let accesses = of.and_then(|one| one.get_document("accesses").ok());
        accesses.map_or(0, |a| a.get_i64("ops").unwrap_or(0))
    };
    let in_use = if used("a") > used("a_b") { "a" } else { "a_b" };
    let line = format!("drop c \"{in_use}\"");
    assert!(!summary(&advice).contains(&line), "{:?}", summary(&advice));
}
