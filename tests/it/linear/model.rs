//! What is known of every key, so that each read can be judged.
//!
//! The states of a key are numbered in the order of its writes: 1, 2, 3, …, and a document shows
//! its number (and its key) in the field `v`. A state may be the key's absence. Writers that
//! say which state they write hold the key alone; increments share it, each adding one to
//! the number and leaving the rest. So at any moment it is known which states a read may show: none
//! earlier than `known`, which was acknowledged or seen by anybody before the read began; none
//! later than `sent` once it has ended.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Keys 0, 1, ….
pub const KEYS: usize = 12;
/// Values 0, 1, … of the field `p`, which changes; the field `g` is the key modulo [`GROUPS`].
pub const PHASES: i32 = 4;
/// Values of the field `g`.
pub const GROUPS: usize = 3;
/// Any value of `p`.
pub const ANY: u8 = 0b1111;

/// The field `v` of state `n` of a key.
pub fn v_of(key: usize, n: i64) -> i64 {
    n * STEP + key as i64
}

/// The key and the number in a `v`.
pub fn parts_of(v: i64) -> (usize, i64) {
    (v.rem_euclid(STEP) as usize, v.div_euclid(STEP))
}

/// What an increment adds to `v`.
pub const STEP: i64 = 64;

/// `None`: there is no document. Else its `p`.
pub type State = Option<i32>;

/// The earliest state of each key that a read may show.
pub type Least = [i64; KEYS];

/// All keys, and the copy that `$out` makes of them.
pub struct Model {
    keys: Vec<Key>,
    /// The earliest state of each key that the copy may show.
    copied: Vec<AtomicI64>,
    /// The latest `operationTime` of an acknowledged write.
    operation_time: AtomicU64,
}

struct Key {
    turn: RwLock<()>,
    sent: AtomicI64,
    acknowledged: AtomicI64,
    known: AtomicI64,
    /// The states from these numbers on, oldest first.
    states: Mutex<Vec<(i64, State)>>,
}

/// What a key may have shown to a read, as far as its filter goes.
#[derive(Debug, Default)]
pub struct Span {
    /// It must have been found.
    pub must: bool,
    /// How many separate times it could have been found.
    pub chances: usize,
    /// The earliest number with which it could have been found.
    pub lowest: i64,
    /// The latest numbers with which it could have been found each time, added up.
    pub highest: i64,
    /// The earliest number with which it could have been missed.
    pub missed: Option<i64>,
}

impl Model {
    /// Every key in its first state.
    pub fn new() -> Model {
        let key = |k| Key {
            turn: RwLock::new(()),
            sent: AtomicI64::new(1),
            acknowledged: AtomicI64::new(1),
            known: AtomicI64::new(1),
            states: Mutex::new(vec![(1, Some(first_phase(k)))]),
        };
        Model {
            keys: (0..KEYS).map(key).collect(),
            copied: (0..KEYS).map(|_| AtomicI64::new(1)).collect(),
            operation_time: AtomicU64::new(0),
        }
    }

    /// An acknowledged write was at this time.
    pub fn note_operation_time(&self, time: u64) {
        self.operation_time.fetch_max(time, SeqCst);
    }

    /// The latest of these times.
    pub fn operation_time(&self) -> u64 {
        self.operation_time.load(SeqCst)
    }

    /// A key for a writer that says what it writes.
    pub fn alone(&self, key: usize) -> RwLockWriteGuard<'_, ()> {
        self.keys[key].turn.write()
    }

    /// A key for an increment.
    pub fn shared(&self, key: usize) -> RwLockReadGuard<'_, ()> {
        self.keys[key].turn.read()
    }

    /// The state of a key that is held.
    pub fn state(&self, key: usize) -> State {
        self.keys[key].states.lock().last().and_then(|s| s.1)
    }

    /// The number that the next state of a key will have. It is held alone.
    pub fn next(&self, key: usize) -> i64 {
        self.keys[key].sent.load(SeqCst) + 1
    }

    /// The next state of a key is about to be written. It is held alone.
    pub fn send(&self, key: usize, state: State) -> i64 {
        let n = self.next(key);
        self.keys[key].states.lock().push((n, state));
        self.keys[key].sent.store(n, SeqCst);
        n
    }

    /// All that was sent to a key that is held alone was acknowledged.
    pub fn acknowledge(&self, key: usize) {
        let n = self.keys[key].sent.load(SeqCst);
        self.keys[key].acknowledged.store(n, SeqCst);
        self.keys[key].known.fetch_max(n, SeqCst);
    }

    /// An increment is about to be sent.
    pub fn send_increment(&self, key: usize) {
        self.keys[key].sent.fetch_add(1, SeqCst);
    }

    /// An increment was acknowledged.
    pub fn acknowledge_increment(&self, key: usize) {
        let n = self.keys[key].acknowledged.fetch_add(1, SeqCst) + 1;
        self.keys[key].known.fetch_max(n, SeqCst);
    }

    /// The bounds of a read that begins now.
    pub fn least(&self, copy: bool) -> Least {
        std::array::from_fn(|k| match copy {
            true => self.copied[k].load(SeqCst),
            false => self.keys[k].known.load(SeqCst),
        })
    }

    /// A copy was made that shows at least this. One is made at a time.
    pub fn copied(&self, least: &Least) {
        for (copied, &n) in self.copied.iter().zip(least) {
            copied.fetch_max(n, SeqCst);
        }
    }

    /// A read that has ended has shown that a key had come this far.
    pub fn observe(&self, key: usize, n: i64, copy: bool) {
        self.keys[key].known.fetch_max(n, SeqCst);
        if copy {
            self.copied[key].fetch_max(n, SeqCst);
        }
    }

    /// The state that number `n` stands for, if a read that ends now and was to show at least
    /// `least` may show it; otherwise why not.
    pub fn judge(&self, key: usize, n: i64, least: i64) -> Result<State, String> {
        let most = self.keys[key].sent.load(SeqCst);
        if n < least {
            return Err(format!(
                "key {key} in state {n}, but {least} was known before"
            ));
        }
        if n > most {
            return Err(format!(
                "key {key} in state {n}, but only {most} had been sent"
            ));
        }
        let states = self.keys[key].states.lock();
        let state = states.iter().rev().find(|(from, _)| *from <= n);
        Ok(state.and_then(|s| s.1))
    }

    /// What a read that ends now may have found of a key, whose `p` is to be among `phases`.
    pub fn span(&self, key: usize, least: i64, phases: u8) -> Span {
        let most = self.keys[key].sent.load(SeqCst);
        let mut span = Span {
            must: true,
            ..Span::default()
        };
        let mut before = most + 1;
        let mut matched = false;
        let states = self.keys[key].states.lock();
        for &(from, state) in states.iter().rev() {
            let (first, last) = (from.max(least), before - 1);
            before = before.min(from);
            if first > last {
                continue;
            }
            if state.is_some_and(|p| phases & (1 << p) != 0) {
                span.lowest = first;
                if !matched {
                    span.chances += 1;
                    span.highest += last;
                }
                matched = true;
            } else {
                span.must = false;
                span.missed = Some(first);
                matched = false;
            }
            if from <= least {
                break;
            }
        }
        span
    }
}

/// The `p` that a key begins with.
pub fn first_phase(key: usize) -> i32 {
    key as i32 % PHASES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_may_be_shown_from_when_it_is_sent_until_a_later_one_is_known() {
        let model = Model::new();
        let _alone = model.alone(3);
        assert_eq!(model.judge(3, 1, 1), Ok(Some(3)));
        assert!(model.judge(3, 2, 1).is_err(), "not sent yet");
        model.send(3, None);
        assert_eq!(model.judge(3, 1, model.least(false)[3]), Ok(Some(3)));
        assert_eq!(model.judge(3, 2, model.least(false)[3]), Ok(None));
        model.observe(3, 2, false);
        assert!(model.judge(3, 1, model.least(false)[3]).is_err());
    }

    #[test]
    fn what_a_read_may_find_or_miss_follows_from_the_states_that_it_may_see() {
        let model = Model::new();
        let span = |least, phases| model.span(0, least, phases);
        assert!(span(1, 0b0001).must && span(1, 0b1110).missed == Some(1));
        model.send(0, Some(2));
        model.send_increment(0);
        model.send(0, None);
        model.send(0, Some(2));
        let all = span(1, ANY);
        assert!(!all.must && all.chances == 2, "{all:?}");
        assert_eq!((all.lowest, all.highest, all.missed), (1, 3 + 5, Some(4)));
        let late = span(5, 0b0100);
        assert!(late.must && late.missed.is_none() && late.chances == 1);
        assert_eq!(span(2, 0b0001).chances, 0);
    }
}
