//! The seam between clients, optimisations and MongoDB.
//!
//! A [`Request`] walks down the stages (each one file, in the order of
//! `stages/mod.rs`) to a [`Backend`], and its [`Reply`] walks back. The pipeline,
//! not a stage, runs the fences of docs/coherence.md, so that no stage can break them.

mod caller;
mod clock;
mod collections;
mod core;
mod error;
mod exchanges;
mod fences;
mod home;
mod left_out;
mod origin;
mod probe;
mod profiler;
mod progress;
mod request;
pub mod scripted;
mod sessions;
mod stage;
mod strangers;
#[cfg(test)]
mod tests;
mod trail;
mod transactions;
mod upstream_facts;
mod waits;
mod watch;
mod workload;

pub use self::core::{Guard, Pipeline};
pub use caller::{AT_ONCE, Caller, Callers, Presence, UnderWay};
pub use clock::{Clock, Moment};
pub use collections::{Asking, CollectionId, Collections, Definition, Described, NameKind};
pub use error::{Failure, Fault};
pub use exchanges::{Ending, Exchange, Exchanges, Timed};
#[doc(hidden)]
pub use fences::Weakened;
pub use fences::{
    DefaultReads, Fence, Fences, MOST_NAMES, Mark, Reads, Stamp, Tie, Tied, Wanted, Window,
};
pub use home::{home, set_home, will_wait};
pub use left_out::LeftOut;
pub use origin::{Clients, Origin};
pub use probe::{CollectionFacts, Explain, IndexUse, Probe, ProbeError, Probed};
pub use profiler::Profiler;
pub use progress::{Progress, Tried};
pub use request::{Known, Met, NO_PRINCIPAL, Principal, Replaced, Reply, Request};
pub use sessions::{OwnSession, OwnSessions};
pub use stage::{Answer, Backend, BoxFuture, Next, Outcome, OwnedNext, Stage};
pub use trail::{Decision, Trail};
pub use upstream_facts::{Deployment, Distance, Facts, UpstreamFacts, Writer};
pub use waits::Waits;
pub use watch::{Horizon, Landed, WatchCounts, WatchState};
pub use workload::{Observed, Workload};
