//! The application of the demo: players with money, things and scores, as a game's chat bot has them.
//!
//! Three collections, keyed by player: `accounts`, `inventories`, `players` (indexed by guild and score). A few players
//! are very active, most aren't (Zipf). Money only moves between accounts, so its sum can be checked afterwards.

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{IndexOptions, WriteConcern};
use mongodb::{Client, ClientSession, Collection, Database, IndexModel};

use crate::bench::random::{Random, Zipf};

/// Players.
pub const USERS: u32 = 10_000;
/// Guilds.
pub const GUILDS: u32 = 100;
/// What each account starts with.
pub const START_BALANCE: i64 = 1_000;
/// How unequal activity is: the usual choice of YCSB.
const ZIPF_EXPONENT: f64 = 0.99;
/// Things that players own.
const ITEMS: [&str; 8] = [
    "apple", "bow", "potion", "ring", "rope", "shield", "sword", "torch",
];

/// One kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads one account.
    Balance,
    /// Reads what a player owns.
    Inventory,
    /// Reads the ten best of a guild.
    Leaderboard,
    /// Moves money between two accounts, in a transaction with majority write concern.
    Transfer,
    /// Takes one thing from a player's inventory.
    UseItem,
    /// Raises a player's score.
    Score,
}

impl Kind {
    /// All kinds and how many of 1,000 operations they are; 95 % are reads.
    pub const MIX: [(Kind, u32); 6] = [
        (Kind::Balance, 400),
        (Kind::Inventory, 250),
        (Kind::Leaderboard, 300),
        (Kind::Transfer, 20),
        (Kind::UseItem, 15),
        (Kind::Score, 15),
    ];

    /// What tables call it.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Balance => "balance",
            Kind::Inventory => "inventory",
            Kind::Leaderboard => "leaderboard",
            Kind::Transfer => "transfer (transaction)",
            Kind::UseItem => "use an item",
            Kind::Score => "score points",
        }
    }

    /// Whether it only reads.
    pub fn is_read(self) -> bool {
        matches!(self, Kind::Balance | Kind::Inventory | Kind::Leaderboard)
    }

    /// Draws a kind and its place in [`Kind::MIX`].
    pub fn draw(random: &mut Random) -> (usize, Kind) {
        let mut point = random.below(Kind::MIX.iter().map(|(_, share)| share).sum());
        for (index, (kind, share)) in Kind::MIX.into_iter().enumerate() {
            if point < share {
                return (index, kind);
            }
            point -= share;
        }
        (0, Kind::Balance)
    }
}

/// One copy of the data, seen through one client.
#[derive(Debug)]
pub struct Economy {
    client: Client,
    database: Database,
    /// Players' money.
    pub accounts: Collection<Document>,
    inventories: Collection<Document>,
    players: Collection<Document>,
    activity: Zipf,
}

impl Economy {
    /// The economy in this database.
    pub fn of(client: &Client, database: &str) -> Economy {
        let database = client.database(database);
        Economy {
            client: client.clone(),
            accounts: database.collection("accounts"),
            inventories: database.collection("inventories"),
            players: database.collection("players"),
            activity: Zipf::new(USERS, ZIPF_EXPONENT),
            database,
        }
    }

    /// Its database's name.
    pub fn name(&self) -> &str {
        self.database.name()
    }

    /// Makes the data and the index.
    pub async fn fill(&self) -> Result<(), Error> {
        self.database.drop().await?;
        let mut random = Random::seeded(42);
        let users = 0..USERS;
        self.accounts
            .insert_many(
                users
                    .clone()
                    .map(|id| doc! {"_id": id, "balance": START_BALANCE}),
            )
            .await?;
        let inventories = users.clone().map(|id| {
            let items: Document = ITEMS
                .iter()
                .map(|item| ((*item).to_owned(), (5 + id % 90).into()))
                .collect();
            doc! {"_id": id, "items": items}
        });
        self.inventories.insert_many(inventories).await?;
        let players = users.map(|id| {
            doc! {
                "_id": id,
                "name": format!("player {id}"),
                "guild": id % GUILDS,
                "score": random.below(100_000),
            }
        });
        self.players.insert_many(players).await?;
        let by_rank = IndexModel::builder().keys(doc! {"guild": 1, "score": -1, "_id": 1});
        let by_rank = by_rank
            .options(IndexOptions::builder().name("rank".to_owned()).build())
            .build();
        self.players.create_index(by_rank).await?;
        Ok(())
    }

    /// Runs one operation. `session` serves its transactions.
    pub async fn run(
        &self,
        kind: Kind,
        session: &mut ClientSession,
        random: &mut Random,
    ) -> Result<(), Error> {
        let user = self.activity.draw(random);
        match kind {
            Kind::Balance => self.balance(user).await.map(drop),
            Kind::Inventory => self
                .inventories
                .find_one(doc! {"_id": user})
                .await
                .map(drop),
            Kind::Leaderboard => self.leaderboard(user % GUILDS).await.map(drop),
            Kind::Transfer => {
                let other = (user + 1 + random.below(USERS - 1)) % USERS;
                self.transfer(session, user, other, i64::from(1 + random.below(20)))
                    .await
            }
            Kind::UseItem => {
                let item = ITEMS[random.below(ITEMS.len() as u32) as usize];
                let change = doc! {"$inc": {format!("items.{item}"): -1}};
                self.inventories
                    .update_one(doc! {"_id": user}, change)
                    .await
                    .map(drop)
            }
            Kind::Score => {
                let points = 1 + random.below(50);
                self.players
                    .update_one(doc! {"_id": user}, doc! {"$inc": {"score": points}})
                    .await
                    .map(drop)
            }
        }
    }

    /// Reads one player's balance.
    pub async fn balance(&self, user: u32) -> Result<Option<Document>, Error> {
        self.accounts.find_one(doc! {"_id": user}).await
    }

    /// The ten best of a guild; equal scores in the order of ids.
    async fn leaderboard(&self, guild: u32) -> Result<Vec<Document>, Error> {
        let best = self
            .players
            .find(doc! {"guild": guild})
            .sort(doc! {"score": -1, "_id": 1})
            .limit(10);
        best.await?.try_collect().await
    }

    /// Moves money if there's enough, as the drivers' manual recommends: the whole transaction again on a transient
    /// error, the commit alone again when its outcome is unknown.
    async fn transfer(
        &self,
        session: &mut ClientSession,
        from: u32,
        to: u32,
        amount: i64,
    ) -> Result<(), Error> {
        loop {
            session
                .start_transaction()
                .write_concern(WriteConcern::majority())
                .await?;
            match self.move_money(session, from, to, amount).await {
                Ok(true) => {}
                Ok(false) => return session.abort_transaction().await,
                Err(error) => {
                    // The reason counts, not what aborting says about a transaction that the server ended already.
                    let _ = session.abort_transaction().await;
                    if error.contains_label(TRANSIENT_TRANSACTION_ERROR) {
                        continue;
                    }
                    return Err(error);
                }
            }
            loop {
                match session.commit_transaction().await {
                    Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {}
                    Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => break,
                    other => return other,
                }
            }
        }
    }

    /// Both updates. False when there isn't enough money.
    async fn move_money(
        &self,
        session: &mut ClientSession,
        from: u32,
        to: u32,
        amount: i64,
    ) -> Result<bool, Error> {
        let enough = doc! {"_id": from, "balance": {"$gte": amount}};
        let taken = self
            .accounts
            .update_one(enough, doc! {"$inc": {"balance": -amount}});
        if taken.session(&mut *session).await?.modified_count == 0 {
            return Ok(false);
        }
        let given = self
            .accounts
            .update_one(doc! {"_id": to}, doc! {"$inc": {"balance": amount}});
        given.session(&mut *session).await?;
        Ok(true)
    }

    /// A session for a worker.
    pub async fn session(&self) -> Result<ClientSession, Error> {
        self.client.start_session().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_operations_or_more_are_reads() {
        let share = |reads: bool| -> u32 {
            Kind::MIX
                .iter()
                .filter(|(kind, _)| kind.is_read() == reads)
                .map(|(_, share)| share)
                .sum()
        };
        assert_eq!(share(true) + share(false), 1_000);
        assert!(share(true) >= 900);
    }

    #[test]
    fn kinds_are_drawn_as_often_as_the_mix_says() {
        let mut random = Random::seeded(3);
        let mut seen = [0u32; Kind::MIX.len()];
        for _ in 0..100_000 {
            seen[Kind::draw(&mut random).0] += 1;
        }
        for (count, (kind, share)) in seen.into_iter().zip(Kind::MIX) {
            let expected = share * 100;
            assert!(
                count.abs_diff(expected) < expected / 10 + 100,
                "{kind:?} {count} instead of {expected}"
            );
        }
    }
}
