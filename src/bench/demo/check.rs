//! Were the answers right?
//!
//! Money only moves, so the sum of all balances must be what it was. And what the proxy says, after all those writes and
//! with its cache full, must be what MongoDB says.

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::Client;
use mongodb::error::Error;

use super::economy::{Economy, START_BALANCE, USERS};
use crate::bench::random::Random;

/// Balances compared one by one.
const SAMPLE: usize = 200;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The sum of all balances at the start.
    pub expected_sum: i64,
    /// The sum of the direct side's balances, and of the proxied side's, both read from MongoDB itself.
    pub sums: [i64; 2],
    /// Balances read through the proxy and directly.
    pub compared: usize,
    /// Those that differed, as the proxy and as MongoDB had them.
    pub different: Vec<(Option<Document>, Option<Document>)>,
}

impl Verdict {
    /// Whether nothing was wrong.
    pub fn is_good(&self) -> bool {
        self.sums.iter().all(|&sum| sum == self.expected_sum) && self.different.is_empty()
    }
}

/// Checks both copies of the data. `client` goes to MongoDB itself.
pub async fn check(direct: &Economy, proxied: &Economy, client: &Client) -> Result<Verdict, Error> {
    let behind_the_proxy = Economy::of(client, proxied.name());
    let mut verdict = Verdict {
        expected_sum: START_BALANCE * i64::from(USERS),
        sums: [sum(direct).await?, sum(&behind_the_proxy).await?],
        compared: SAMPLE,
        different: Vec::new(),
    };
    let mut random = Random::seeded(7);
    for _ in 0..SAMPLE {
        let user = random.below(USERS);
        let seen = proxied.balance(user).await?;
        let truth = behind_the_proxy.balance(user).await?;
        if seen != truth {
            verdict.different.push((seen, truth));
        }
    }
    Ok(verdict)
}

async fn sum(economy: &Economy) -> Result<i64, Error> {
    let group = doc! {"$group": {"_id": null, "sum": {"$sum": "$balance"}}};
    let mut groups = economy.accounts.aggregate([group]).await?;
    Ok(groups
        .try_next()
        .await?
        .and_then(|group| group.get_i64("sum").ok())
        .unwrap_or_default())
}
