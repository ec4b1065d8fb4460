//! What is asked: streams of ready-made requests.
//!
//! - [`template`]: a prepared frame with holes for keys and session ids
//! - [`simple`]: workloads of one kind of request
//! - [`data`]: the collections that they use
//! - [`writes`]: write concern and retryability
//! - [`redis`]: what Redis is asked instead
//!
//! Requests carry an `lsid` as drivers send it, one per connection, and no `$clusterTime`.

pub mod data;
pub mod redis;
pub mod simple;
pub mod template;
pub mod writes;

use std::sync::atomic::{AtomicI64, Ordering};

use super::random::Random;
pub use data::{GUILDS, USERS};
pub use template::message;
pub use writes::WriteStyle;

/// A stream of requests.
pub trait Source: Send {
    /// Appends the next request of this connection to `out`, which is empty.
    fn fill(&mut self, connection: usize, random: &mut Random, out: &mut Vec<u8>);

    /// How many distinct requests there are, for warming caches; `None` when each request is new.
    fn distinct(&self) -> Option<u32> {
        None
    }

    /// Appends the distinct request number `index`.
    fn fill_nth(&mut self, _connection: usize, _index: u32, _out: &mut Vec<u8>) {}
}

/// Whose requests they are.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The lane's own database: one target's writes don't disturb another's data.
    pub database: String,
    /// Number of the lane in this run: its sessions are its own, too.
    pub lane: u64,
    /// How writes are sent.
    pub style: WriteStyle,
}

/// The workloads that speak raw OP_MSG.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// One document by `_id`, uniformly drawn from 10,000.
    Point,
    /// The ten best of one of 100 guilds: equality, sort and limit, on an index that fits.
    Leaderboard,
    /// One new document of about 200 bytes per request.
    Insert,
    /// Adds 1 to a field of one document by `_id`, uniformly drawn from 10,000.
    Update,
}

impl Workload {
    /// The name as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Point => "point",
            Workload::Leaderboard => "leaderboard",
            Workload::Insert => "insert",
            Workload::Update => "update",
        }
    }

    /// Whether the framed echo and Redis can stand in for mongod: every request is a read of one kind.
    pub fn is_one_read(self) -> bool {
        matches!(self, Workload::Point | Workload::Leaderboard)
    }

    /// Its stream of requests.
    pub fn source(self, context: &Context) -> Box<dyn Source> {
        Box::new(match self {
            Workload::Point => simple::point(context),
            Workload::Leaderboard => simple::leaderboard(context),
            Workload::Insert => simple::insert(context),
            Workload::Update => simple::update(context),
        })
    }
}

/// Unique across all sources of a process, and across runs: it starts at the clock's microseconds.
static FRESH: AtomicI64 = AtomicI64::new(0);

/// A number that no one used before, greater than all that were.
pub fn fresh_number() -> i64 {
    if FRESH.load(Ordering::Relaxed) == 0 {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let _ = FRESH.compare_exchange(
            0,
            now.as_micros() as i64,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
    FRESH.fetch_add(1, Ordering::Relaxed)
}
