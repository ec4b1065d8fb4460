//! The economy of a game, with no index but `_id`.

use bson::{Document, doc};
use petiole::embedded::{Deployment, MongodOptions};

use super::load::{
    Ask, ONE_BY_ONE, at, below, fill, follow, measure, proxy, report, summary, until_advised,
};

const USERS: u64 = 100_000;
const GUILDS: u64 = 1_000;
const DAY: i64 = 86_400;

fn users(n: u64) -> Document {
    let user = i64::try_from(n).unwrap();
    doc! {
        "user_id": user, "guild_id": below(GUILDS, n, 1), "balance": below(1_000_000, n, 2),
        "last_claim": at(below(30 * 86_400, n, 3)), "name": format!("user {n}"),
    }
}

/// Two items of each user.
fn items(n: u64) -> Document {
    let owner = i64::try_from(n / 2).unwrap();
    doc! {"owner": owner, "item": format!("item-{}", below(50, n, 5)), "amount": below(50, n, 6)}
}

fn transactions(n: u64) -> Document {
    doc! {
        "user_id": below(USERS / 10, n, 7), "amount": below(500, n, 8) - 250,
        "at": at(below(30 * 86_400, n, 9)), "reason": "trade",
    }
}

const ASKS: &[Ask] = &[
    Ask {
        name: "balance",
        make: |db, seed| {
            let n = u64::try_from(below(USERS, seed, 0)).unwrap();
            let who = users(n);
            doc! {"find": "users", "filter": {"user_id": who.get_i64("user_id").unwrap(), "guild_id": who.get_i64("guild_id").unwrap()},
            "limit": 1, "singleBatch": true, "$db": db}
        },
    },
    Ask {
        name: "leaderboard",
        make: |db, seed| {
            doc! {"find": "users", "filter": {"guild_id": below(GUILDS, seed, 0)}, "sort": {"balance": -1}, "limit": 10, "$db": db}
        },
    },
    Ask {
        name: "inventory",
        make: |db, seed| {
            let owner = below(USERS, seed, 0);
            let first = u64::try_from(owner).unwrap() * 2;
            let mut list: Vec<String> = (0..3)
                .map(|n| format!("item-{}", below(50, seed, n)))
                .collect();
            list.push(items(first).get_str("item").unwrap().to_owned());
            list.push(items(first + 1).get_str("item").unwrap().to_owned());
            doc! {"find": "items", "filter": {"owner": owner, "item": {"$in": list}}, "$db": db}
        },
    },
    Ask {
        name: "transactions",
        make: |db, seed| {
            let from = below(20, seed, 1) * DAY;
            doc! {"find": "transactions", "filter": {"user_id": below(USERS / 10, seed, 0), "at": {"$gte": at(from), "$lt": at(from + 10 * DAY)}},
            "sort": {"at": -1}, "limit": 20, "$db": db}
        },
    },
    Ask {
        name: "daily-claim",
        make: |db, seed| {
            let from = below(30 * 86_400, seed, 1);
            doc! {"find": "users", "filter": {"last_claim": {"$gte": at(from), "$lt": at(from + 600)}}, "$db": db}
        },
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn the_economy_gets_the_fewest_indexes_and_is_well_served_then() {
    let _alone = ONE_BY_ONE.lock().await;
    let deployment = Deployment::start(MongodOptions::default())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let db = "economy";
    let begin = std::time::Instant::now();
    fill(&deployment, db, "users", USERS, users).await;
    fill(&deployment, db, "items", 2 * USERS, items).await;
    fill(&deployment, db, "transactions", 2 * USERS, transactions).await;
    println!("{} documents loaded in {:?}", 5 * USERS, begin.elapsed());
    let before = measure(&deployment, db, ASKS).await;
    let proxy = proxy(&deployment);
    let wanted = [
        r#"create items { "owner": 1, "item": 1 }"#,
        r#"create transactions { "user_id": 1, "at": -1 }"#,
        r#"create users { "guild_id": 1, "balance": -1 }"#,
        r#"create users { "last_claim": 1 }"#,
        r#"create users { "user_id": 1, "guild_id": 1 }"#,
    ];
    until_advised(&proxy, db, ASKS, |a| summary(a) == wanted).await;
    let share = report(&proxy)["explain_share"].as_f64().unwrap();
    assert!(share < 0.015, "{share}");
    follow(&proxy, &deployment).await;
    let after = measure(&deployment, db, ASKS).await;
    for (before, after) in before.iter().zip(&after) {
        println!(
            "{:<14} examined / returned {:>9.1} -> {:.2}, median {:?} -> {:?}",
            after.name, before.ratio, after.ratio, before.median, after.median
        );
        assert!(after.ratio <= 1.5, "{after:?}");
    }
    until_advised(&proxy, db, ASKS, |a| a.is_empty()).await;
    assert!(proxy.log().contains("advice withdrawn"));
}
