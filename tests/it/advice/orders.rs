//! An order system, with no index but `_id`: other commands, other shapes.

use bson::{Document, doc};
use petiole::embedded::{Deployment, MongodOptions};

use super::load::{
    Ask, ONE_BY_ONE, at, below, fill, follow, measure, proxy, summary, until_advised,
};

const ORDERS: u64 = 60_000;
const JOBS: u64 = 30_000;
const MONTH: u64 = 30 * 86_400;

fn orders(n: u64) -> Document {
    let status = [
        "open", "paid", "packed", "sent", "done", "done", "done", "done",
    ];
    let number = i64::try_from(n).unwrap();
    let sku = |k: u64| format!("sku-{}", below(5_000, n, k));
    doc! {
        "order_no": format!("A{number:08}"), "customer": below(3_000, n, 1),
        "status": status[usize::try_from(below(8, n, 2)).unwrap()], "created": at(below(MONTH, n, 3)),
        "total": below(10_000, n, 4), "region": format!("region-{}", below(300, n, 6)),
        "items": [{"sku": sku(7), "n": 1}, {"sku": sku(8), "n": 2}],
    }
}

fn jobs(n: u64) -> Document {
    let state = [
        "ready", "running", "done", "done", "done", "done", "done", "done",
    ];
    doc! {
        "queue": format!("queue-{}", below(40, n, 1)), "state": state[usize::try_from(below(8, n, 2)).unwrap()],
        "priority": below(1_000, n, 3), "created": at(below(MONTH, n, 4)), "expires": at(below(MONTH, n, 5)),
    }
}

fn number(seed: u64) -> String {
    format!("A{:08}", below(ORDERS, seed, 0))
}

const ASKS: &[Ask] = &[
    Ask {
        name: "by customer, newest first",
        make: |db, seed| {
            doc! {"find": "orders", "filter": {"customer": below(3_000, seed, 0)}, "sort": {"created": -1}, "limit": 5, "$db": db}
        },
    },
    Ask {
        name: "by status and date",
        make: |db, seed| {
            let from = below(MONTH, seed, 1);
            doc! {"find": "orders", "filter": {"created": {"$gte": at(from), "$lt": at(from + 3_600)}, "status": "paid"}, "$db": db}
        },
    },
    Ask {
        name: "by sku",
        make: |db, seed| {
            doc! {"find": "orders", "filter": {"items.sku": format!("sku-{}", below(5_000, seed, 0))}, "$db": db}
        },
    },
    Ask {
        name: "update by number",
        make: |db, seed| {
            doc! {"update": "orders", "updates": [{"q": {"order_no": number(seed)}, "u": {"$inc": {"total": 1}}}], "$db": db}
        },
    },
    Ask {
        name: "count by status",
        make: |db, _| doc! {"count": "orders", "query": {"status": "open"}, "$db": db},
    },
    Ask {
        name: "customers of a region",
        make: |db, seed| {
            doc! {"distinct": "orders", "key": "customer", "query": {"region": format!("region-{}", below(300, seed, 0))}, "$db": db}
        },
    },
    Ask {
        name: "totals of a region",
        make: |db, seed| {
            let region = format!("region-{}", below(300, seed, 0));
            doc! {"aggregate": "orders", "pipeline": [{"$match": {"region": region}}, {"$group": {"_id": "$status", "total": {"$sum": "$total"}}}],
            "cursor": {}, "$db": db}
        },
    },
    Ask {
        name: "next job",
        make: |db, seed| {
            let queue = format!("queue-{}", below(40, seed, 0));
            doc! {"findAndModify": "jobs", "query": {"queue": queue, "state": "ready"}, "sort": {"priority": -1, "created": 1},
            "update": {"$set": {"seen": below(1_000, seed, 1)}}, "$db": db}
        },
    },
    Ask {
        name: "expired jobs",
        make: |db, _| {
            doc! {"delete": "jobs", "deletes": [{"q": {"expires": {"$lt": at(60)}}, "limit": 0}], "$db": db}
        },
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn an_order_system_is_well_served_without_tuning() {
    let _alone = ONE_BY_ONE.lock().await;
    let deployment = Deployment::start(MongodOptions::default())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let db = "shop";
    fill(&deployment, db, "orders", ORDERS, orders).await;
    fill(&deployment, db, "jobs", JOBS, jobs).await;
    let before = measure(&deployment, db, ASKS).await;
    let proxy = proxy(&deployment);
    let wanted = [
        r#"create jobs { "expires": 1 }"#,
        r#"create jobs { "queue": 1, "state": 1, "priority": -1, "created": 1 }"#,
        r#"create orders { "customer": 1, "created": -1 }"#,
        r#"create orders { "items.sku": 1 }"#,
        r#"create orders { "order_no": 1 }"#,
        r#"create orders { "region": 1 }"#,
        r#"create orders { "status": 1, "created": 1 }"#,
    ];
    until_advised(&proxy, db, ASKS, |a| summary(a) == wanted).await;
    follow(&proxy, &deployment).await;
    let after = measure(&deployment, db, ASKS).await;
    for (before, after) in before.iter().zip(&after) {
        println!(
            "{:<26} examined / returned {:>9.1} -> {:.2}, median {:?} -> {:?}",
            after.name, before.ratio, after.ratio, before.median, after.median
        );
        assert!(after.ratio <= 1.5, "{after:?}");
    }
    until_advised(&proxy, db, ASKS, |a| a.is_empty()).await;
}
