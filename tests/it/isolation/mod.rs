//! One client can't harm another: limits, attacks, and what an operator is told of them.

mod comments;
mod descriptors;
mod exhaust;
mod logins;
mod logs;
mod stuck;
mod turns;
mod waiting;
