//! What the cache counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::command::Bypass;

/// Counters of the cache. All only grow.
#[derive(Debug, Default)]
pub struct CacheStats {
    hits: AtomicU64,
    misses: AtomicU64,
    stored: AtomicU64,
    looked_at: AtomicU64,
    brought: AtomicU64,
    joined: AtomicU64,
    compared: AtomicU64,
    mismatches: AtomicU64,
    bypasses: [AtomicU64; Bypass::COUNT],
}

impl CacheStats {
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Relaxed);
    }

    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    pub(super) fn joined(&self) {
        self.joined.fetch_add(1, Relaxed);
    }

    pub(super) fn compared(&self) {
        self.compared.fetch_add(1, Relaxed);
    }

    pub(super) fn mismatch(&self) {
        self.mismatches.fetch_add(1, Relaxed);
    }

    pub(super) fn stored(&self) {
        self.stored.fetch_add(1, Relaxed);
    }

    pub(super) fn looked_at(&self) {
        self.looked_at.fetch_add(1, Relaxed);
    }

    pub(super) fn brought(&self) {
        self.brought.fetch_add(1, Relaxed);
    }

    pub(super) fn bypass(&self, why: Bypass) {
        if let Some(counter) = self.bypasses.get(why as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Answers served from memory.
    pub fn hits(&self) -> u64 {
        self.hits.load(Relaxed)
    }

    /// Reads that could have been there and weren't.
    pub fn misses(&self) -> u64 {
        self.misses.load(Relaxed)
    }

    /// Reads answered by another's read of the same.
    pub fn joins(&self) -> u64 {
        self.joined.load(Relaxed)
    }

    /// Hits that were compared with the server's own answer.
    pub fn compares(&self) -> u64 {
        self.compared.load(Relaxed)
    }

    /// Of these, answers that the server wouldn't have given.
    pub fn mismatches(&self) -> u64 {
        self.mismatches.load(Relaxed)
    }

    /// Answers put into the cache.
    pub fn stores(&self) -> u64 {
        self.stored.load(Relaxed)
    }

    /// Reads of documents, alone or by the page, that no client asked for: so that writes to them end fewer entries.
    pub fn looks(&self) -> u64 {
        self.looked_at.load(Relaxed)
    }

    /// Hits that there wouldn't have been without such looks.
    pub fn brought_by_looks(&self) -> u64 {
        self.brought.load(Relaxed)
    }

    /// Reads not looked for, or not stored, by reason.
    pub fn bypasses(&self) -> impl Iterator<Item = (Bypass, u64)> + '_ {
        Bypass::ALL
            .iter()
            .zip(&self.bypasses)
            .map(|(&why, n)| (why, n.load(Relaxed)))
    }
}
