//! A plain LRU by bytes, to compare with.

use std::collections::{BTreeMap, HashMap};

pub struct Lru {
    max_bytes: u64,
    bytes: u64,
    clock: u64,
    entries: HashMap<String, (u64, u64)>,
    by_age: BTreeMap<u64, String>,
}

impl Lru {
    pub fn new(max_bytes: u64) -> Lru {
        Lru {
            max_bytes,
            bytes: 0,
            clock: 0,
            entries: HashMap::new(),
            by_age: BTreeMap::new(),
        }
    }

    /// Whether the key was there; it is the newest now.
    pub fn touch(&mut self, key: String, bytes: u64) -> bool {
        self.clock += 1;
        let before = self.entries.insert(key.clone(), (self.clock, bytes));
        if let Some((age, bytes)) = before {
            self.by_age.remove(&age);
            self.bytes -= bytes;
        }
        self.by_age.insert(self.clock, key);
        self.bytes += bytes;
        while self.bytes > self.max_bytes {
            let Some((_, oldest)) = self.by_age.pop_first() else {
                break;
            };
            if let Some((_, bytes)) = self.entries.remove(&oldest) {
                self.bytes -= bytes;
            }
        }
        before.is_some()
    }
}
