//! The collections that the simple workloads use.

use bson::{DateTime, RawArrayBuf, RawDocumentBuf, rawdoc};

use crate::bench::connection::{Asker, ConnectionError};
use crate::bench::random::Random;

/// Users in the `users` collection.
pub const USERS: i32 = 10_000;
/// Guilds, each with [`USERS`]` / `[`GUILDS`] members.
pub const GUILDS: i32 = 100;

/// The `users` collection's document number `id`.
pub fn user(id: i32) -> RawDocumentBuf {
    let mut random = Random::seeded(id as u64);
    rawdoc! {
        "_id": id,
        "name": format!("user{id:05}"),
        "guild": id % GUILDS,
        "balance": 1_000_i64,
        "score": random.below(1_000_000) as i32,
        "level": random.below(80) as i32,
        "joined": DateTime::from_millis(1_600_000_000_000 + i64::from(id) * 60_000),
        "inventory": [
            {"item": "sword", "count": random.below(9) as i32},
            {"item": "potion", "count": random.below(99) as i32},
            {"item": "shield", "count": random.below(9) as i32},
        ],
    }
}

/// Makes the database from scratch, with `users` (indexed by guild and score) and an empty `events`.
pub fn fill(asker: &mut Asker, database: &str) -> Result<(), ConnectionError> {
    asker.command(&rawdoc! {"dropDatabase": 1, "$db": database})?;
    insert_all(asker, database, "users", (0..USERS).map(user))?;
    let index: RawDocumentBuf =
        rawdoc! {"key": {"guild": 1, "score": -1}, "name": "guild_1_score_-1"};
    asker.command(&rawdoc! {"createIndexes": "users", "indexes": [index], "$db": database})?;
    asker.command(&rawdoc! {"create": "events", "$db": database})?;
    Ok(())
}

/// Inserts documents, a thousand at a time.
pub fn insert_all(
    asker: &mut Asker,
    database: &str,
    collection: &str,
    documents: impl Iterator<Item = RawDocumentBuf>,
) -> Result<(), ConnectionError> {
    let mut documents = documents.peekable();
    while documents.peek().is_some() {
        let mut chunk = RawArrayBuf::new();
        documents.by_ref().take(1_000).for_each(|d| chunk.push(d));
        asker.command(&rawdoc! {"insert": collection, "documents": chunk, "$db": database})?;
    }
    Ok(())
}
