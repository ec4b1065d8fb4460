//! How fast answers from memory are, of two proxies side by side: only their ratio says anything on
//! a machine that others load, too.

use std::time::{Duration, Instant};

use bson::Document;

use crate::raw::{RawClient, Section, encode};

/// Two proxies, each asked the same small read over one connection.
pub struct Pair {
    watched: Hits,
    other: Hits,
}

/// Several turns of a [`Pair`].
#[derive(Debug)]
pub struct Compared {
    /// Answers per second of the first one, the median.
    pub watched: f64,
    /// Of the second one.
    pub other: f64,
    /// The first one's share of the second one's, the median of the turns.
    pub ratio: f64,
    /// Answers of the first one that weren't from memory.
    pub missed: u64,
}

impl Pair {
    /// `command`: what is asked; it is in both memories afterwards.
    pub async fn connect(watched: &str, other: &str, command: &Document) -> Pair {
        Pair {
            watched: Hits::connect(watched, command).await,
            other: Hits::connect(other, command).await,
        }
    }

    /// Asks both in turn, so many times each.
    pub async fn compare(&mut self, turns: usize) -> Compared {
        let (mut watched, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let before = self.watched.missed;
        for turn in 0..turns {
            // (Who comes first changes, so that a drift favours nobody.)
            let (a, b) = match turn % 2 {
                0 => {
                    let a = self.watched.rate().await;
                    (a, self.other.rate().await)
                }
                _ => {
                    let b = self.other.rate().await;
                    (self.watched.rate().await, b)
                }
            };
            watched.push(a);
            other.push(b);
            ratios.push(a / b);
        }
        Compared {
            watched: median(watched),
            other: median(other),
            ratio: median(ratios),
            missed: self.watched.missed - before,
        }
    }
}

/// One connection to one proxy. Replies aren't looked into: that would take longer than to serve them.
struct Hits {
    client: RawClient,
    command: Vec<Section>,
    /// Length of the answer from memory, which has no `$clusterTime`.
    length: usize,
    missed: u64,
}

impl Hits {
    async fn connect(address: &str, command: &Document) -> Hits {
        let client = RawClient::connect(address).await.expect("it listens");
        let mut hits = Hits {
            client,
            command: vec![Section::Body(encode(command))],
            length: usize::MAX,
            missed: 0,
        };
        for _ in 0..3 {
            hits.length = hits.length.min(hits.ask().await);
        }
        hits
    }

    async fn ask(&mut self) -> usize {
        let answer = self.client.roundtrip(0, &self.command).await;
        answer.expect("an answer").body.len()
    }

    /// Answers per second, over a slice of time.
    async fn rate(&mut self) -> f64 {
        let began = Instant::now();
        let mut answered = 0_u32;
        while began.elapsed() < SLICE {
            self.missed += u64::from(self.ask().await != self.length);
            answered += 1;
        }
        f64::from(answered) / began.elapsed().as_secs_f64()
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

const SLICE: Duration = Duration::from_millis(200);
