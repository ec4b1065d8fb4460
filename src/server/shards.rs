//! Counters that each thread has for itself: to count costs no thread another's cache line, and who
//! reads adds them up.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// One `T` for each thread, and some more. More threads than were foreseen share.
#[derive(Debug)]
pub(super) struct Shards<T>(Box<[Apart<T>]>);

/// No two of them on one cache line (or a pair of lines, which processors fetch together).
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Shards<T> {
    pub fn new(threads: usize, make: impl Fn() -> T) -> Shards<T> {
        // So that a thread finds its own by a mask.
        let shards = threads.max(1).next_power_of_two();
        Shards((0..shards).map(|_| Apart(make())).collect())
    }

    /// This thread's. (There is always one.)
    pub fn own(&self) -> Option<&T> {
        let own = self.0.get(thread() & (self.0.len() - 1));
        own.map(|Apart(own)| own)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|Apart(one)| one)
    }
}

/// A number of this thread.
fn thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static THREAD: usize = NEXT.fetch_add(1, Relaxed);
    }
    THREAD.with(|thread| *thread)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn nothing_is_lost_however_many_threads_count() {
        let shards = Shards::new(2, AtomicU64::default);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| shards.own().map(|n| n.fetch_add(1, Relaxed)));
            }
        });
        let all: u64 = shards.iter().map(|n| n.load(Relaxed)).sum();
        assert_eq!((all, shards.iter().count()), (5, 2));
    }
}
