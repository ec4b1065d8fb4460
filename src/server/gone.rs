//! Noticing that a client is gone while its request is under way.
//!
//! A read that nobody waits for is given up: its link is closed, and mongod ends what a closed
//! connection had asked for. Whatever may write is given up only while it waits and nothing of it is under way at a server;
//! otherwise it runs on, and its fence stands until it is over.

use std::time::Duration;

use tokio::io::Interest;
use tokio::time::sleep;

use super::peer::Stream;
use crate::command::{Command, Kind};
use crate::pipeline::{AT_ONCE, Caller};
use crate::upstream::Sock;

/// What becomes of a request whose client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It is given up, also in its midst: nothing but its asker is lost.
    EndsIt,
    /// It is given up as long as it hasn't been sent, and not sent from then on.
    KeepsItBack,
    /// It is sent all the same: it ends things that a client leaves behind.
    ChangesNothing,
}

impl Leaving {
    pub fn of(command: &Command) -> Leaving {
        match command.kind {
            Kind::Abort | Kind::KillCursors | Kind::Upkeep | Kind::Hello | Kind::Auth => {
                Leaving::ChangesNothing
            }
            _ if command.in_transaction => Leaving::KeepsItBack,
            Kind::Find | Kind::Count | Kind::Distinct | Kind::Read | Kind::GetMore => {
                Leaving::EndsIt
            }
            Kind::Aggregate if !command.pipeline_writes => Leaving::EndsIt,
            _ => Leaving::KeepsItBack,
        }
    }
}

/// Ends when a request's client has gone and the request may be given up. `caller`: of one that may be only as long as it
/// waits.
pub(super) async fn gone(sock: &Sock<Stream>, caller: Option<&Caller>) {
    closed(sock).await;
    let Some(caller) = caller else {
        // It may have closed its sending side only, and still read: mongod too lets short commands end, and interrupts
        // long ones.
        return sleep(GRACE).await;
    };
    if caller.may_leave() {
        sleep(AT_ONCE).await;
    }
    while !caller.give_up() {
        sleep(LOOK_AGAIN).await;
    }
}

/// Ends when the client has closed its side.
async fn closed(sock: &Sock<Stream>) {
    let tcp = sock.tcp();
    loop {
        match tcp.ready(Interest::READABLE).await {
            Ok(ready) if ready.is_read_closed() => return,
            // It has sent its next request already, or TLS says goodbye.
            Ok(_) => sleep(LOOK_AGAIN).await,
            Err(_) => return,
        }
    }
}

const GRACE: Duration = Duration::from_millis(250);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
