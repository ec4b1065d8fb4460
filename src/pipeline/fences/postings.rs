//! From values to the answers that hold them: a multi-map from a hash to slots.
//!
//! Postings of one hash form a list through the nodes, so that adding and taking one
//! out cost the same however many share it. Two values with one hash only make
//! candidates that needn't be; whoever looks decides on the values themselves.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::FixedState;

/// A number of a node, to take it out again.
pub(super) type PostingId = u32;

#[derive(Default)]
pub(super) struct Postings {
    heads: HashMap<u64, Head, FixedState>,
    nodes: Vec<Node>,
    free: Vec<PostingId>,
}

#[derive(Clone, Copy)]
struct Head {
    first: PostingId,
    count: u32,
}

#[derive(Clone, Copy)]
struct Node {
    hash: u64,
    slot: u32,
    previous: PostingId,
    next: PostingId,
}

impl Postings {
    pub fn add(&mut self, hash: u64, slot: u32) -> PostingId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::NOWHERE);
            u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
        });
        let head = self.heads.entry(hash).or_insert(Head {
            first: NONE,
            count: 0,
        });
        let next = std::mem::replace(&mut head.first, id);
        head.count += 1;
        if let Some(after) = self.nodes.get_mut(next as usize) {
            after.previous = id;
        }
        if let Some(node) = self.nodes.get_mut(id as usize) {
            *node = Node {
                hash,
                slot,
                previous: NONE,
                next,
            };
        }
        id
    }

    pub fn remove(&mut self, id: PostingId) {
        let Some(&node) = self.nodes.get(id as usize) else {
            return;
        };
        if let Some(after) = self.nodes.get_mut(node.next as usize) {
            after.previous = node.previous;
        }
        if let Some(before) = self.nodes.get_mut(node.previous as usize) {
            before.next = node.next;
        }
        if let Entry::Occupied(mut head) = self.heads.entry(node.hash) {
            if head.get().count <= 1 {
                head.remove();
            } else {
                let head = head.get_mut();
                head.count -= 1;
                if head.first == id {
                    head.first = node.next;
                }
            }
        }
        self.free.push(id);
    }

    /// How many slots are posted under a hash.
    pub fn count(&self, hash: u64) -> usize {
        self.heads.get(&hash).map_or(0, |head| head.count as usize)
    }

    /// The slots posted under a hash, newest first.
    pub fn of(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let mut at = self.heads.get(&hash).map_or(NONE, |head| head.first);
        std::iter::from_fn(move || {
            let node = self.nodes.get(at as usize)?;
            at = node.next;
            Some(node.slot)
        })
    }
}

impl Node {
    const NOWHERE: Node = Node {
        hash: 0,
        slot: 0,
        previous: NONE,
        next: NONE,
    };
}

const NONE: PostingId = PostingId::MAX;

/// What one posting costs, in bytes: its node, its place in the member's list, and its
/// share of a table that is between half and seven eighths full.
pub(super) const POSTING_BYTES: usize = size_of::<Node>() + size_of::<PostingId>() + 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(postings: &Postings, hash: u64) -> Vec<u32> {
        let mut found: Vec<u32> = postings.of(hash).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn what_was_added_is_found_until_it_is_removed_in_any_order() {
        let mut postings = Postings::default();
        let ids: Vec<PostingId> = (0..6).map(|slot| postings.add(7, slot)).collect();
        let other = postings.add(8, 100);
        assert_eq!(slots(&postings, 7), [0, 1, 2, 3, 4, 5]);
        for (removed, left) in [
            (5, vec![0, 1, 2, 3, 4]),
            (0, vec![1, 2, 3, 4]),
            (2, vec![1, 3, 4]),
        ] {
            postings.remove(ids[removed]);
            assert_eq!(slots(&postings, 7), left);
            assert_eq!(postings.count(7), left.len());
        }
        let again = postings.add(7, 9);
        assert_eq!(slots(&postings, 7), [1, 3, 4, 9]);
        for id in [ids[1], ids[3], ids[4], again] {
            postings.remove(id);
        }
        assert!(slots(&postings, 7).is_empty() && postings.heads.len() == 1);
        assert_eq!(slots(&postings, 8), [100]);
        postings.remove(other);
        assert!(postings.heads.is_empty());
    }
}
