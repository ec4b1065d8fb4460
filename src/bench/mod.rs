//! The load generator and what it's pointed at.
//!
//! - [`load`] drives one target from one thread; [`connection`] is one of its sockets; [`pace`] says when to send; [`reply`] says where a reply
//!   ends and whether it's good; [`workload`] makes the requests; [`random`] draws keys.
//! - [`rounds`] runs several targets in turn, A B C A B C …, so that a slow minute of the machine hits all of them;
//!   [`ratio`] compares them round by round.
//! - [`process`] starts, watches and ends child processes; [`peers`] are those that we compare with.
//! - [`args`] and [`run`] are `petiole bench`: [`servers`] starts what is measured ([`proxy`], [`peers`]),
//!   [`contestant`] is one target of one workload, [`goals`] says which ratios matter, [`table`]
//!   prints, [`record`] saves, [`report`] plots and [`compare`] compares the findings; [`status`] asks a proxy for its
//!   counters; [`standing`] measures one that nobody asks; [`capture`] records a trace.
//! - [`out`] prints, to a reader that may go away. [`demo`] is `petiole demo`.
//!
//! Every server is a process of its own, so that the generator's thread shares no lock and no allocator with it, and
//! its CPU time can be told apart. The raw generator doesn't authenticate and doesn't speak TLS.

pub mod args;
pub mod capture;
pub mod compare;
pub mod connection;
pub mod contestant;
pub mod demo;
pub mod goals;
pub mod load;
pub mod out;
pub mod pace;
pub mod peers;
pub mod process;
pub mod proxy;
pub mod random;
pub mod ratio;
pub mod record;
pub mod reply;
pub mod report;
pub mod rounds;
pub mod run;
pub mod servers;
pub mod standing;
pub mod status;
pub mod table;
pub mod workload;

pub use args::BenchArgs;
pub use demo::DemoArgs;
pub use peers::echo::EchoArgs;
pub use peers::relay::RelayArgs;
