//! How often the proxy may look at documents of its own accord.
//!
//! A look is one read that no client has asked for. What pays for it is a read that needn't go upstream in return: a hit on an
//! answer that a write would have ended since it was last served, had nothing been known of the written document. An
//! answer that is spared again and again and that nobody asks for brings nothing.
//!
//! Of a workload that has brought nothing yet, a look is taken on trust, which all collections have in common and which is never
//! given back, or for the share of a collection's reads that may always be spent to see whether it brings something by now. So
//! looks are never more than [`TRUST`], two in a hundred of the reads that went upstream, and the hits that they brought, together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What a collection may spend on looks.
pub(super) struct Credit {
    left: u32,
    brought: Arc<Brought>,
}

/// Hits that looks have brought and that haven't been counted as credit yet.
#[derive(Default, Debug)]
pub(super) struct Brought(AtomicU32);

/// Looks that all collections together may have on trust.
pub(super) struct Trust(AtomicU32);

impl Credit {
    pub fn new() -> Credit {
        Credit {
            left: 0,
            brought: Arc::default(),
        }
    }

    /// Where hits that looks have brought are counted.
    pub fn brought(&self) -> &Arc<Brought> {
        &self.brought
    }

    /// A read of the collection goes upstream.
    pub fn note_read(&mut self) {
        self.add(1);
    }

    /// Whether there may be one look more.
    pub fn take(&mut self, trust: &Trust) -> bool {
        self.add(self.brought.take().saturating_mul(HIT));
        if self.left < LOOK {
            return trust.take();
        }
        self.left -= LOOK;
        true
    }

    fn add(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(MOST);
    }
}

impl Brought {
    pub fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn take(&self) -> u32 {
        self.0.swap(0, Relaxed)
    }
}

impl Trust {
    pub fn new() -> Trust {
        Trust(AtomicU32::new(TRUST))
    }

    fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Relaxed, Relaxed, less).is_ok()
    }
}

/// Looks that may be had before any has brought anything.
const TRUST: u32 = 8;

/// What a hit is worth, in reads that go upstream: one of so many may be a look.
const HIT: u32 = 64;

/// What a look costs. It's a read that goes upstream itself, and is counted as one.
const LOOK: u32 = HIT + 1;

/// What may be saved up: so soon it is noticed that looks don't bring anything any more.
const MOST: u32 = 64 * LOOK;

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(credit: &mut Credit, trust: &Trust) -> u32 {
        let mut looks = 0;
        while credit.take(trust) {
            credit.note_read();
            looks += 1;
        }
        looks
    }

    #[test]
    fn trust_is_had_once_by_all_collections_together() {
        let trust = Trust::new();
        let (mut one, mut other) = (Credit::new(), Credit::new());
        assert!(other.take(&trust));
        assert_eq!(looks(&mut one, &trust), TRUST - 1);
        assert_eq!(looks(&mut other, &trust), 0);
    }

    #[test]
    fn without_any_hits_one_read_in_so_many_may_be_a_look() {
        let (mut credit, trust) = (Credit::new(), Trust::new());
        let mut looks = 0;
        for _ in 0..10_000 {
            credit.note_read();
            if credit.take(&trust) {
                credit.note_read();
                looks += 1;
            }
        }
        assert!((150..=200 + TRUST).contains(&looks), "{looks}");
    }

    #[test]
    fn a_hit_pays_for_one_look_and_what_is_saved_up_is_limited() {
        let (mut credit, trust) = (Credit::new(), Trust::new());
        looks(&mut credit, &trust);
        (0..10).for_each(|_| credit.brought().add());
        assert!((9..=10).contains(&looks(&mut credit, &trust)));
        (0..10_000).for_each(|_| credit.brought().add());
        assert!((64..=66).contains(&looks(&mut credit, &trust)));
    }
}
