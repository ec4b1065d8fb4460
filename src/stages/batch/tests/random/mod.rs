//! Many clients that behave like drivers, before a server that fails at random.

mod inserts;
mod singles;

use std::time::Duration;

use bson::Document;

use super::model::Trouble;
use super::{Answered, Setup};

/// A small generator of its own: each run is repeatable by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What goes wrong, command by command, once the server is known.
fn troubles(random: &mut Random) -> Vec<Trouble> {
    let first = (0..3).map(|_| Trouble::None);
    first.chain((0..400).map(|_| trouble(random))).collect()
}

fn trouble(random: &mut Random) -> Trouble {
    match random.below(14) {
        0 => Trouble::Unsent,
        1 => Trouble::LostBefore,
        2 => Trouble::LostAfter,
        3 => Trouble::Midway(random.below(4) as usize, 11601),
        4 => Trouble::Labelled,
        5 => Trouble::Midway(random.below(4) as usize, 50),
        6 => Trouble::NotPrimary,
        _ => Trouble::None,
    }
}

/// Sends a write until it is answered for good, as a driver would that never gives up; sometimes
/// the connection is lost while it waits.
async fn persist(setup: &Setup, write: &Document, random: &mut Random) -> Document {
    loop {
        if let Some(reply) = attempt(setup, write, random).await {
            return reply;
        }
    }
}

/// Sends a write once. `None` if it isn't known what became of it.
async fn attempt(setup: &Setup, write: &Document, random: &mut Random) -> Option<Document> {
    let mut handle = setup.send(write.clone());
    let patience = match random.below(8) {
        0 => Duration::from_micros(random.below(200)),
        _ => Duration::from_secs(60),
    };
    let answered: Answered = match tokio::time::timeout(patience, &mut handle).await {
        Ok(joined) => joined.unwrap(),
        Err(_) => {
            handle.abort();
            return None;
        }
    };
    match answered {
        Ok(reply) if reply.contains_key("errorLabels") => None,
        Ok(reply) if reply.get_f64("ok").unwrap() == 1.0 => Some(reply),
        Ok(reply) => {
            // It was interrupted, or not the primary, and says so without a label if it had no
            // number: who can sends it again.
            let code = reply.get_i32("code").unwrap();
            assert!([11601, 50, 10107].contains(&code), "{reply}");
            None
        }
        Err(_) => None,
    }
}
