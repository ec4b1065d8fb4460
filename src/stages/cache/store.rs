//! The entries, in quick_cache, weighed by what they truly cost.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::pipeline::Stamp;

/// One answer.
#[derive(Debug)]
pub(super) struct Entry {
    /// A whole message; its ids are replaced when it is served.
    pub reply: Bytes,
    /// What it depends on.
    pub stamp: Stamp,
    /// When it ends by itself.
    pub expires: Option<Instant>,
}

/// Keys to entries, up to a number of bytes.
pub(super) struct Store {
    cache: Cache<Box<[u8]>, Arc<Entry>, Weigh, foldhash::fast::RandomState>,
}

impl Store {
    pub fn new(max_bytes: u64) -> Store {
        // A guess at the number of entries only sizes the first tables.
        let expected = usize::try_from(max_bytes / 4096)
            .unwrap_or(usize::MAX)
            .clamp(64, 1 << 16);
        let options = quick_cache::OptionsBuilder::new()
            .estimated_items_capacity(expected)
            .weight_capacity(max_bytes)
            .shards(SHARDS)
            .build();
        let cache = match options {
            Ok(options) => Cache::with_options(
                options,
                Weigh,
                foldhash::fast::RandomState::default(),
                Default::default(),
            ),
            Err(_) => Cache::with(
                expected,
                max_bytes,
                Weigh,
                foldhash::fast::RandomState::default(),
                Default::default(),
            ),
        };
        Store { cache }
    }

    pub fn get(&self, key: &[u8]) -> Option<Arc<Entry>> {
        self.cache.get(key)
    }

    pub fn insert(&self, key: Box<[u8]>, entry: Entry) {
        self.cache.insert(key, Arc::new(entry));
    }

    pub fn len(&self) -> usize {
        self.cache.len()
    }

    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    pub fn clear(&self) {
        self.cache.clear();
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Box<[u8]>, Arc<Entry>> for Weigh {
    fn weight(&self, key: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        (key.len() + entry.reply.len() + PER_ENTRY) as u64
    }
}

/// The entry itself, its two allocations, and its place in the index.
const PER_ENTRY: usize = size_of::<Entry>() + 2 * size_of::<usize>() + 32 + 96;

/// Few shards: an entry can be as large as a shard, and there are few cores.
const SHARDS: usize = 8;
