//! What is counted of requests.

use std::time::Duration;

use crate::pipeline::{Decision, Trail};

/// What the cache had to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Answered from memory.
    Hit,
    /// Looked for there, and read from the server.
    Miss,
    /// Answered by another's read.
    Joined,
    /// Not looked for, or not stored.
    Bypass,
    /// Not a read that is cached, or there is no cache.
    None,
}

impl Fate {
    /// By what was decided on the way.
    pub(super) fn of(trail: &Trail) -> Fate {
        let mut fate = Fate::None;
        for decision in trail.iter() {
            match decision {
                Decision::Hit => return Fate::Hit,
                Decision::Joined => return Fate::Joined,
                Decision::Miss => fate = Fate::Miss,
                // (Also after a miss: some reasons are found only then.)
                Decision::Bypassed(_) => fate = Fate::Bypass,
                _ => {}
            }
        }
        fate
    }

    /// The word in JSON and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Hit => "hit",
            Fate::Miss => "miss",
            Fate::Joined => "joined",
            Fate::Bypass => "bypass",
            Fate::None => "none",
        }
    }
}

/// One request, or several that it stands for.
pub(super) struct Seen {
    pub weight: u32,
    pub fate: Fate,
    pub took: Duration,
    /// A further batch of a result: its request is counted already.
    pub continues: bool,
    pub failed: bool,
    pub documents: u64,
    pub bytes: u64,
}

impl Seen {
    pub fn micros(&self) -> u64 {
        u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Sums over requests of one shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests.
    pub count: u64,
    /// Of these, failed or answered with an error.
    pub errors: u64,
    /// Answered from memory.
    pub hit: u64,
    /// Looked for there, and read from the server.
    pub miss: u64,
    /// Answered by another's read.
    pub joined: u64,
    /// Reads not looked for, or not stored.
    pub bypass: u64,
    /// Documents in the answers, those of further batches included. (So are bytes and times.)
    pub documents: u64,
    /// Bytes of the answers.
    pub bytes: u64,
    /// Time from request to reply, microseconds.
    pub micros: u64,
    /// Requests that the server answered.
    pub upstream: u64,
    /// Their time, microseconds.
    pub upstream_micros: u64,
    /// Documents in these answers.
    pub upstream_documents: u64,
}

impl Counts {
    pub(super) fn add(&mut self, seen: &Seen) {
        let weight = u64::from(seen.weight);
        let micros = seen.micros();
        let requests = if seen.continues { 0 } else { weight };
        self.count += requests;
        self.errors += if seen.failed { requests } else { 0 };
        match seen.fate {
            Fate::Hit => self.hit += requests,
            Fate::Miss => self.miss += requests,
            Fate::Joined => self.joined += requests,
            Fate::Bypass => self.bypass += requests,
            Fate::None => {}
        }
        self.documents += seen.documents * weight;
        self.bytes += seen.bytes * weight;
        self.micros += micros * weight;
        if !matches!(seen.fate, Fate::Hit | Fate::Joined) {
            self.upstream += requests;
            self.upstream_micros += micros * weight;
            self.upstream_documents += seen.documents * weight;
        }
    }

    pub(super) fn merge(&mut self, other: &Counts) {
        self.count += other.count;
        self.errors += other.errors;
        self.hit += other.hit;
        self.miss += other.miss;
        self.joined += other.joined;
        self.bypass += other.bypass;
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.micros += other.micros;
        self.upstream += other.upstream;
        self.upstream_micros += other.upstream_micros;
        self.upstream_documents += other.upstream_documents;
    }
}
