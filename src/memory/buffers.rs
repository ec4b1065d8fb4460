//! How many bytes the buffers of connections and links hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The sum over all.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<AtomicU64>);

/// One buffer's part of the sum. It follows the buffer in steps, so that a buffer in use costs a
/// comparison for each message and nothing else.
#[derive(Debug)]
pub struct Held {
    sum: Buffers,
    bytes: usize,
}

impl Buffers {
    /// A buffer that holds nothing yet.
    pub fn hold(&self) -> Held {
        Held {
            sum: self.clone(),
            bytes: 0,
        }
    }

    /// Bytes that all of them hold.
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Held {
    /// The buffer has this size now.
    #[inline]
    pub fn set(&mut self, bytes: usize) {
        let bytes = bytes.next_multiple_of(STEP);
        if bytes != self.bytes {
            self.change(bytes);
        }
    }

    fn change(&mut self, bytes: usize) {
        let (now, before) = (bytes as u64, self.bytes as u64);
        // Wraps around and back: what is taken away was added before.
        self.sum.0.fetch_add(now.wrapping_sub(before), Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.change(0);
    }
}

/// Smaller changes aren't followed; the least that a read allocates.
const STEP: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_follows_every_buffer_until_it_is_gone() {
        let buffers = Buffers::default();
        let (mut one, mut two) = (buffers.hold(), buffers.hold());
        one.set(4096);
        two.set(100_000);
        assert_eq!(buffers.bytes(), 4096 + 102_400);
        two.set(1);
        assert_eq!(buffers.bytes(), 8192);
        drop(one);
        assert_eq!(buffers.bytes(), 4096);
        drop(two);
        assert_eq!(buffers.bytes(), 0);
    }
}
