//! What is asked: streams of ready-made requests.
//!
//! - [`template`]: a prepared frame with holes for keys and session ids
//! - [`simple`]: workloads of one kind of request
//! - [`economy`]: a game's bot
//! - [`ycsb`]: the six workloads of the Yahoo! Cloud Serving Benchmark
//! - [`trace`]: commands recorded from an application
//! - [`data`]: the collections that the simple ones use
//! - [`writes`]: write concern and retryability
//! - [`redis`]: what Redis is asked instead
//!
//! Requests carry an `lsid` as drivers send it, one per connection, and no `$clusterTime`.

pub mod data;
pub mod economy;
pub mod redis;
pub mod simple;
pub mod template;
pub mod trace;
pub mod writes;
pub mod ycsb;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use self::ycsb::{Letter, Ycsb};
use super::connection::{Asker, ConnectionError};
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

    /// The last request of this connection was refused.
    fn refused(&mut self, _connection: usize) {}

    /// Transactions that were begun so far, those that began again included.
    fn transactions(&self) -> u64 {
        0
    }

    /// Whether this connection is in the midst of something that mustn't be left open, a transaction: its next
    /// requests are sent even after the measurement's end.
    fn unfinished(&self, _connection: usize) -> bool {
        false
    }
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
    /// What [`Workload::Replay`] replays.
    pub trace: Option<Arc<trace::Trace>>,
}

/// The workloads that speak raw OP_MSG.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// A game's bot: balances, inventories, leaderboards, transfers in transactions, daily claims; Zipf over 10,000 users.
    Economy,
    /// One document by `_id`, uniformly drawn from 10,000.
    Point,
    /// The ten best of one of 100 guilds: equality, sort and limit, on an index that fits.
    Leaderboard,
    /// Fifty documents by a range of `_id`.
    Range,
    /// Count, sum and maximum over the hundred members of a guild.
    Aggregate,
    /// One new document of about 200 bytes per request.
    Insert,
    /// 64 new documents per request, as a batch of 64 clients' inserts has: what the server can do at best.
    #[value(name = "insert-64")]
    #[serde(rename = "insert-64")]
    Insert64,
    /// Adds 1 to a field of one document by `_id`, uniformly drawn from 10,000.
    Update,
    /// YCSB: half reads, half updates.
    YcsbA,
    /// YCSB: 95 % reads, 5 % updates.
    YcsbB,
    /// YCSB: reads only.
    YcsbC,
    /// YCSB: 95 % reads of the latest, 5 % inserts.
    YcsbD,
    /// YCSB: 95 % short scans, 5 % inserts.
    YcsbE,
    /// YCSB: half reads, half reads followed by an update.
    YcsbF,
    /// The trace given with `--replay`.
    #[value(skip)]
    Replay,
}

impl Workload {
    /// The name as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Economy => "economy",
            Workload::Point => "point",
            Workload::Leaderboard => "leaderboard",
            Workload::Range => "range",
            Workload::Aggregate => "aggregate",
            Workload::Insert => "insert",
            Workload::Insert64 => "insert-64",
            Workload::Update => "update",
            Workload::YcsbA => "ycsb-a",
            Workload::YcsbB => "ycsb-b",
            Workload::YcsbC => "ycsb-c",
            Workload::YcsbD => "ycsb-d",
            Workload::YcsbE => "ycsb-e",
            Workload::YcsbF => "ycsb-f",
            Workload::Replay => "replay",
        }
    }

    /// Whether the framed echo and Redis can stand in for mongod: every request is a read of one kind.
    pub fn is_one_read(self) -> bool {
        matches!(self, Workload::Point | Workload::Leaderboard)
    }

    /// Whether all its replies are of about one size.
    pub fn has_one_reply(self) -> bool {
        matches!(
            self,
            Workload::Point
                | Workload::Leaderboard
                | Workload::Range
                | Workload::Aggregate
                | Workload::Insert
                | Workload::Insert64
                | Workload::Update
        )
    }

    /// Its stream of requests.
    pub fn source(self, context: &Context) -> Box<dyn Source> {
        let ycsb = |letter| Box::new(Ycsb::new(letter, context));
        match self {
            Workload::Economy => Box::new(economy::Economy::new(context)),
            Workload::Point => Box::new(simple::point(context)),
            Workload::Leaderboard => Box::new(simple::leaderboard(context)),
            Workload::Range => Box::new(simple::range(context)),
            Workload::Aggregate => Box::new(simple::aggregate(context)),
            Workload::Insert => Box::new(simple::insert(context)),
            Workload::Insert64 => Box::new(simple::insert_64(context)),
            Workload::Update => Box::new(simple::update(context)),
            Workload::YcsbA => ycsb(Letter::A),
            Workload::YcsbB => ycsb(Letter::B),
            Workload::YcsbC => ycsb(Letter::C),
            Workload::YcsbD => ycsb(Letter::D),
            Workload::YcsbE => ycsb(Letter::E),
            Workload::YcsbF => ycsb(Letter::F),
            Workload::Replay => Box::new(trace::Replay::new(context)),
        }
    }

    /// Makes its data in a lane's database, from scratch. A trace has its data where it was recorded.
    pub fn fill(self, asker: &mut Asker, database: &str) -> Result<(), ConnectionError> {
        match self {
            Workload::Economy => economy::fill(asker, database),
            Workload::YcsbA
            | Workload::YcsbB
            | Workload::YcsbC
            | Workload::YcsbD
            | Workload::YcsbE
            | Workload::YcsbF => ycsb::fill(asker, database),
            Workload::Replay => Ok(()),
            _ => data::fill(asker, database),
        }
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
