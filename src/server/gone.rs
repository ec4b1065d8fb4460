//! Noticing that a client is gone while its request is under way.
//!
//! A read that nobody waits for is given up: its link is closed, and mongod ends what a closed
//! connection had asked for. A write runs on, and its fence stands until it is over.

use std::time::Duration;

use tokio::io::Interest;
use tokio::time::sleep;

use crate::command::{Command, Kind};
use crate::upstream::Sock;

/// Whether nothing but its asker is lost when a command is given up in its midst.
pub(super) fn may_be_given_up(command: &Command) -> bool {
    match command.kind {
        _ if command.in_transaction => false,
        Kind::Find | Kind::Count | Kind::Distinct | Kind::Read | Kind::GetMore => true,
        Kind::Aggregate => !command.pipeline_writes,
        _ => false,
    }
}

/// Ends some time after the client has closed its side. (It may have closed that side only, and
/// still read: mongod too lets short commands end, and interrupts long ones.)
pub(super) async fn gone(sock: &Sock) {
    let tcp = sock.tcp();
    loop {
        match tcp.ready(Interest::READABLE).await {
            Ok(ready) if ready.is_read_closed() => return sleep(GRACE).await,
            // It has sent its next request already, or TLS says goodbye.
            Ok(_) => sleep(LOOK_AGAIN).await,
            Err(_) => return,
        }
    }
}

const GRACE: Duration = Duration::from_millis(250);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
