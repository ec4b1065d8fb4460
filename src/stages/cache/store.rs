//! The entries, in quick_cache, weighed by what they truly cost.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use super::entry::Entry;
use crate::pipeline::Tied;

/// Keys to entries, up to a number of bytes.
pub(super) struct Store {
    cache: Cache<Key, Arc<Entry>, Weigh, foldhash::fast::RandomState>,
    max_bytes: AtomicU64,
}

/// The key lies in the entry, once.
struct Key(Arc<Entry>);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Key {}

/// Bytes of a key, to look it up with.
#[derive(Hash)]
struct Wanted<'a>(&'a [u8]);

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0 == *key.0.key
    }
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
        Store {
            cache,
            max_bytes: AtomicU64::new(max_bytes),
        }
    }

    pub fn get(&self, key: &[u8]) -> Option<Arc<Entry>> {
        self.cache.get(&Wanted(key))
    }

    pub fn insert(&self, entry: &Arc<Entry>) {
        entry.weigh();
        self.cache.insert(Key(Arc::clone(entry)), Arc::clone(entry));
    }

    /// Drops an entry, if it is still the one under its key.
    pub fn remove(&self, dead: &Arc<dyn Tied>) {
        let dead_at = Arc::as_ptr(dead).cast::<()>();
        self.cache.remove_if(&Wanted(dead.key()), |entry| {
            Arc::as_ptr(entry).cast::<()>() == dead_at
        });
    }

    /// Drops all that `keep` doesn't want.
    pub fn retain(&self, keep: impl Fn(&Entry) -> bool) {
        self.cache.retain(|_, entry| keep(entry));
    }

    pub fn len(&self) -> usize {
        self.cache.len()
    }

    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// Whether storing more is going to push something out.
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.max_bytes.load(Relaxed) / 10 * 9
    }

    /// From now on at most so many bytes.
    pub fn limit(&self, max_bytes: u64) {
        self.max_bytes.store(max_bytes, Relaxed);
        self.cache.set_capacity(max_bytes);
    }

    pub fn clear(&self) {
        self.cache.clear();
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Key, Arc<Entry>> for Weigh {
    fn weight(&self, _: &Key, entry: &Arc<Entry>) -> u64 {
        u64::from(entry.weight.load(Relaxed))
    }
}

/// Few shards: an entry can be as large as a shard, and there are few cores.
const SHARDS: usize = 8;
