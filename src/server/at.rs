//! Which message a client's task is at, for the watchdog, which looks from another thread while the task may be stuck.
//!
//! Written with each request, so that it must cost next to nothing: a short message is copied word by word, without a
//! lock; a long one, whose handling costs far more, is shared.
//!
//! A reader that comes while a message is being written may see parts of two. It asks about tasks that have stood still for
//! seconds.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::wire::Frame;

/// The message, if there is one.
#[derive(Debug)]
pub(super) struct At {
    /// Bytes of it; 0: none.
    length: AtomicUsize,
    short: [AtomicU64; WORDS],
    long: Mutex<Bytes>,
}

impl Default for At {
    fn default() -> Self {
        At {
            length: AtomicUsize::new(0),
            short: [const { AtomicU64::new(0) }; WORDS],
            long: Mutex::default(),
        }
    }
}

impl At {
    /// The task begins with it.
    pub fn begin(&self, frame: &Frame) {
        let bytes = &frame.bytes;
        if bytes.len() > WORDS * WORD {
            *self.long.lock() = bytes.clone();
        } else {
            let (words, rest) = bytes.as_chunks::<WORD>();
            for (slot, word) in self.short.iter().zip(words) {
                slot.store(u64::from_le_bytes(*word), Relaxed);
            }
            if let Some(slot) = self.short.get(words.len()) {
                let mut last = [0; WORD];
                for (to, from) in last.iter_mut().zip(rest) {
                    *to = *from;
                }
                slot.store(u64::from_le_bytes(last), Relaxed);
            }
        }
        self.length.store(bytes.len(), Relaxed);
    }

    /// It is done with it.
    pub fn end(&self) {
        // (Only the task itself writes: a load and a store do.)
        let length = self.length.load(Relaxed);
        self.length.store(0, Relaxed);
        if length > WORDS * WORD {
            *self.long.lock() = Bytes::new();
        }
    }

    /// The message.
    pub fn message(&self) -> Option<Frame> {
        let length = self.length.load(Relaxed);
        let bytes = match length {
            0 => return None,
            length if length > WORDS * WORD => self.long.lock().clone(),
            length => {
                let mut bytes = BytesMut::with_capacity(WORDS * WORD);
                for word in &self.short {
                    bytes.extend_from_slice(&word.load(Relaxed).to_le_bytes());
                }
                bytes.truncate(length);
                bytes.freeze()
            }
        };
        Some(Frame { bytes })
    }
}

const WORD: usize = size_of::<u64>();
/// 256 bytes: most commands. (Each client has room for as many.)
const WORDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_is_seen_until_it_ends() {
        let at = At::default();
        assert_eq!(at.message(), None);
        for length in [16, 23, 24, 255, 256, 257, 70_000] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let frame = Frame {
                bytes: bytes.into(),
            };
            at.begin(&frame);
            assert_eq!(at.message(), Some(frame));
            at.end();
            assert_eq!(at.message(), None);
        }
        assert!(at.long.lock().is_empty(), "a long message is let go of");
    }
}
