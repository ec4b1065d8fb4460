//! What looks at documents cost, counted at the server, and what they bring.

use std::cell::Cell;

use bson::{Document, doc};
use mongodb::Database;

use super::{GUILDS, Game, PLAYERS, until_async};

const MANY: i32 = 20_000;

const ALONE: [(&str, &str); 1] = [("cache.external_writes", "\"none\"")];

/// Reads of players that come to the server from now on, by its own profiler.
struct Counted(Database);

struct Reads {
    all: u64,
    /// Of these, reads that ask for single fields, as no client here does.
    looks: u64,
}

impl Counted {
    async fn start(game: &Game) -> Counted {
        let uri = super::shared::rs().await.uri();
        let client = super::Client::with_uri_str(uri).await.unwrap();
        let db = client.database(&game.through.namespace().db);
        let room = doc! {"create": "system.profile", "capped": true, "size": 16 << 20};
        db.run_command(room).await.unwrap();
        let reads = doc! {"op": "query", "command.find": "players"};
        let profile = doc! {"profile": 1, "slowms": 0, "filter": reads};
        db.run_command(profile).await.unwrap();
        Counted(db)
    }

    /// What came, when all looks that the proxy has told of are over: the last one may still be under way.
    async fn end(self, told: impl Fn() -> u64) -> Reads {
        let profile = self.0.collection::<Document>("system.profile");
        let count = async |filter: Document| profile.count_documents(filter).await.unwrap();
        let looks = Cell::new(0);
        until_async("the server has seen all looks", async || {
            looks.set(count(doc! {"command.projection": {"$exists": true}}).await);
            let told = told();
            assert!(looks.get() <= told, "every command is counted");
            looks.get() == told
        })
        .await;
        self.0.run_command(doc! {"profile": 0}).await.unwrap();
        Reads {
            all: count(doc! {}).await,
            looks: looks.get(),
        }
    }
}

impl Game {
    /// Looks that the server saw, and the hits that they brought, within their bound.
    async fn price(&self, counted: Counted) -> (u64, u64) {
        let told = |name: &str| self.proxy.count(&format!("/cache/{name}"));
        let Reads { all, looks } = counted.end(|| told("pre_images_read")).await;
        let brought = told("pre_image_hits");
        println!("{looks} looks among {all} reads brought {brought} hits");
        assert!(looks <= 8 + all / 50 + brought);
        (looks, brought)
    }

    /// Players score who are far from each other by `_id`, and look at how their guild stands now.
    async fn score_and_look(&self, who: i32, times: i32) {
        for i in 0..times {
            let id = (who * 7_919 + i * 211) % MANY;
            self.score(id, 1).await;
            self.best(&self.through, id % GUILDS).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_spared_again_and_again_and_never_read_again_pay_for_no_look() {
    let game = Game::start_with(MANY, "never_read_again", &ALONE).await;
    let counted = Counted::start(&game).await;
    let brought = || game.proxy.count("/cache/pre_image_hits");
    until_async("one player of each guild is known", async || {
        game.best(&game.through, 1).await;
        game.score(0, 1).await;
        brought() > 0
    })
    .await;
    let paid = brought();
    for i in 0..300 {
        let guild = i % GUILDS;
        let stranger = 1_000 + i * 60 + guild;
        // The first score spares the leaderboard that was read last; the second ends all.
        for player in [guild, stranger] {
            game.score(player, 1).await;
            // (The second time it's a hit, so that it is worth being stored.)
            game.best(&game.through, guild).await;
            game.best(&game.through, guild).await;
        }
    }
    assert!(game.proxy.count("/cache/hits") >= 500);
    assert_eq!(game.price(counted).await.1, paid);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_that_is_done_by_many_at_once_looks_are_not_many_more_than_the_hits_that_they_bring()
{
    let game = Game::start_with(MANY, "paid_by_few", &ALONE).await;
    let counted = Counted::start(&game).await;
    let everybody = (0..16).map(|who| game.score_and_look(who, 60));
    futures_util::future::join_all(everybody).await;
    game.price(counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_many_leaderboards_are_read_and_players_of_all_guilds_score_looks_bring_most_hits() {
    let game = Game::start("paid_well", &ALONE).await;
    let counted = Counted::start(&game).await;
    for i in 0..200 {
        game.score(i * 7 % PLAYERS, 50).await;
        for guild in 0..GUILDS {
            game.best(&game.through, guild).await;
        }
    }
    let hits = game.proxy.count("/cache/hits");
    let (looks, brought) = game.price(counted).await;
    assert!(
        brought >= 100 * looks,
        "{looks} looks brought {brought} hits"
    );
    assert!(brought <= hits && hits >= 1_500, "{hits} hits");
}
