//! A write to one member of a guild leaves the other guilds' leaderboards cached, once the proxy has looked at what the
//! member's guild is (`pipeline/fences/pre_image.rs`), and never a stale one. Such looks are never many more than the hits that
//! they bring.

use bson::{Bson, Document, doc};
use mongodb::{Client, Collection};

use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::parts::wait::{until, until_async};

mod price;

const GUILDS: i32 = 10;
const PLAYERS: i32 = 300;

struct Game {
    proxy: Proxy,
    through: Collection<Document>,
    around: Collection<Document>,
}

impl Game {
    async fn start(name: &str, settings: &[(&str, &str)]) -> Game {
        Game::start_with(PLAYERS, name, settings).await
    }

    async fn start_with(many: i32, name: &str, settings: &[(&str, &str)]) -> Game {
        let rs = shared::rs().await;
        let proxy = Proxy::start(&rs.seed_uri(), settings);
        let database = shared::database(name);
        let players = async |uri: &str| {
            let client = Client::with_uri_str(uri).await.unwrap();
            client.database(&database).collection::<Document>("players")
        };
        let through = players(&proxy.uri()).await;
        let around = players(&rs.uri()).await;
        let all = (0..many).map(|id| doc! {"_id": id, "guild": id % GUILDS, "score": id});
        through.insert_many(all).await.unwrap();
        Game {
            proxy,
            through,
            around,
        }
    }

    async fn best(&self, players: &Collection<Document>, guild: i32) -> Vec<Document> {
        let best = players.find(doc! {"guild": guild});
        let mut best = best
            .sort(doc! {"score": -1, "_id": 1})
            .limit(5)
            .await
            .unwrap();
        let mut found = Vec::new();
        while best.advance().await.unwrap() {
            found.push(best.deserialize_current().unwrap());
        }
        found
    }

    /// Every guild's leaderboard, which must be the server's own. Returns how many came from memory.
    async fn all_right(&self) -> u64 {
        let before = self.proxy.count("/cache/hits");
        for guild in 0..GUILDS {
            let told = self.best(&self.through, guild).await;
            assert_eq!(told, self.best(&self.around, guild).await, "guild {guild}");
        }
        self.proxy.count("/cache/hits") - before
    }

    async fn score(&self, id: i32, points: i32) {
        let update = doc! {"$inc": {"score": points}};
        let done = self.through.update_one(doc! {"_id": id}, update).await;
        assert_eq!(done.unwrap().modified_count, 1);
    }

    /// Until the guilds of these players are known, so that a point for them spares the other guilds.
    async fn know(&self, ids: &[i32]) {
        for &id in ids {
            until_async("the player's guild is known", async || {
                self.all_right().await;
                self.score(id, 1).await;
                self.all_right().await + 1 == GUILDS as u64
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_for_a_known_player_spares_the_other_guilds_leaderboards() {
    let game = Game::start("known", &[("cache.external_writes", "\"none\"")]).await;
    assert_eq!(game.all_right().await, 0);
    assert_eq!(game.all_right().await, GUILDS as u64);
    game.score(7, 1).await;
    assert_eq!(game.all_right().await, 0, "nothing is known yet");
    game.know(&[7]).await;
    assert!(game.proxy.count("/cache/pre_images_read") > 0);
    // Its neighbours are known too: nobody has to look at them.
    let looks = game.proxy.count("/cache/pre_images_read");
    for id in 8..30 {
        game.score(id, 1_000).await;
        assert_eq!(game.all_right().await + 1, GUILDS as u64, "player {id}");
    }
    assert_eq!(game.proxy.count("/cache/pre_images_read"), looks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_who_moves_takes_what_was_known_along() {
    let game = Game::start("moved", &[("cache.external_writes", "\"none\"")]).await;
    game.know(&[7]).await;
    let moves = [
        doc! {"$set": {"guild": 2}},
        doc! {"$inc": {"guild": 1}},
        doc! {"$set": {"guild": [4, 5]}},
        doc! {"$unset": {"guild": ""}},
        doc! {"$set": {"guild": 6.0}},
    ];
    for change in moves {
        game.through
            .update_one(doc! {"_id": 7}, change)
            .await
            .unwrap();
        game.score(7, 500).await;
        game.all_right().await;
        game.all_right().await;
        game.score(7, -700).await;
        game.all_right().await;
    }
    game.through.delete_one(doc! {"_id": 7}).await.unwrap();
    let back = doc! {"_id": 7, "guild": 9, "score": 10_000};
    game.through.insert_one(back).await.unwrap();
    game.all_right().await;
    game.score(7, 1).await;
    game.all_right().await;
    let replaced = doc! {"guild": 1, "score": Bson::Int64(20_000)};
    game.through
        .replace_one(doc! {"_id": 7}, replaced)
        .await
        .unwrap();
    game.score(7, 1).await;
    game.all_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_who_is_moved_around_the_proxy_is_noticed_by_the_watch() {
    let game = Game::start("moved_around", &[("cache.external_writes", "\"watch\"")]).await;
    until("it watches", || {
        game.proxy.status()["watch"]["state"] == "watching"
    });
    // (A hit may need the watch to catch up first.)
    until_async("the player's guild is known", async || {
        game.score(7, 1).await;
        for guild in 0..GUILDS {
            game.best(&game.through, guild).await;
        }
        game.proxy.count("/cache/pre_images_read") > 0
    })
    .await;
    for guild in [3, 4, 8] {
        let moved = doc! {"$set": {"guild": guild}};
        game.around
            .update_one(doc! {"_id": 7}, moved)
            .await
            .unwrap();
        game.score(7, 400).await;
        until_async("both are seen", async || {
            game.best(&game.through, guild).await == game.best(&game.around, guild).await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_may_look_or_answers_live_by_time_no_document_is_looked_at() {
    let off = [
        ("cache.external_writes", "\"none\""),
        ("cache.pre_images", "false"),
    ];
    let by_time = [
        ("cache.external_writes", "\"ttl\""),
        ("cache.ttl", "\"1m\""),
    ];
    for (name, settings) in [("not_allowed", off), ("by_time", by_time)] {
        let game = Game::start(name, &settings).await;
        for _ in 0..10 {
            game.all_right().await;
            game.score(7, 1).await;
        }
        assert_eq!(game.proxy.count("/cache/pre_images_read"), 0);
    }
}
