//! What can go wrong on the way to the server, and the reply that it becomes.

use crate::command::{Command, ErrorReply, Kind, codes, labels};
use crate::memory::NoRoom;

/// A request that got no answer from the server.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Failure {
    /// What went wrong.
    pub fault: Fault,
    /// Whether the server may have received the request. If not, nothing was executed.
    pub sent: bool,
}

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// No server could be reached, or the dial failed.
    #[error(
        "no connection to {server}: {reason}; check that it is up and that [upstream] uri is right"
    )]
    Unreachable {
        /// Which server, in the operator's words (never shown a host name).
        server: &'static str,
        /// Why.
        reason: String,
    },
    /// No server fits within `upstream.failover_wait`.
    #[error("no {wanted} within {waited_ms} ms (upstream.failover_wait)")]
    NoServer {
        /// "primary", or the read preference asked for.
        wanted: String,
        /// How long the request waited.
        waited_ms: u64,
    },
    /// All links were busy for `upstream.wait_timeout`.
    #[error(
        "no free upstream link within {waited_ms} ms: {links} of the {limit} links that {key} allows are in use and \
         {waiting} requests wait; raise {key} or upstream.wait_timeout, or look for slow operations"
    )]
    WaitQueueTimeout {
        /// How long the request waited.
        waited_ms: u64,
        /// Links in use.
        links: usize,
        /// Links that there may be.
        limit: usize,
        /// The limit's key: of all links, or of a share.
        key: &'static str,
        /// Requests still waiting.
        waiting: usize,
    },
    /// `maxTimeMS` ran out before the request could be sent.
    #[error("operation exceeded its time limit while it waited for a link")]
    MaxTimeExpired,
    /// The link broke.
    #[error("the upstream connection was lost: {0}")]
    LinkLost(String),
    /// More requests than are admitted.
    #[error("overloaded: {what} (admission.{key})")]
    Overloaded {
        /// What there is too much of, with numbers.
        what: String,
        /// The limit's key in `[admission]`.
        key: &'static str,
    },
    /// A login wasn't done within `server.login_timeout`.
    #[error(
        "the login wasn't done within {waited_ms} ms (server.login_timeout): {links} logins are under way, of {limit} that \
         upstream.max_login_links allows"
    )]
    LoginTimeout {
        /// How long it took so far.
        waited_ms: u64,
        /// Logins under way.
        links: usize,
        /// How many there may be.
        limit: usize,
    },
    /// No authenticated link of this principal is left.
    #[error(
        "no authenticated upstream connection of this user is left; reconnect to authenticate again"
    )]
    PrincipalGone,
    /// The client closed its connection before its request was sent.
    #[error("the client closed its connection before its request could be sent, so it isn't sent")]
    ClientGone,
    /// There's no memory for the reply, or for the request.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

impl Fault {
    /// Its name in logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Fault::Unreachable { .. } => "unreachable",
            Fault::NoServer { .. } => "no_server",
            Fault::WaitQueueTimeout { .. } => "wait_queue_timeout",
            Fault::MaxTimeExpired => "max_time_expired",
            Fault::LinkLost(_) => "link_lost",
            Fault::Overloaded { .. } => "overloaded",
            Fault::LoginTimeout { .. } => "login_timeout",
            Fault::ClientGone => "client_gone",
            Fault::PrincipalGone => "principal_gone",
            Fault::NoRoom(_) => "no_room",
        }
    }
}

impl Failure {
    /// A failure before anything was sent.
    pub fn unsent(fault: Fault) -> Failure {
        Failure { fault, sent: false }
    }

    /// The link broke after (part of) the request may have gone out.
    pub fn lost(reason: impl std::fmt::Display) -> Failure {
        Failure {
            fault: Fault::LinkLost(reason.to_string()),
            sent: true,
        }
    }

    /// The reply has come and was thrown away: there's no memory for it.
    pub fn unread(no_room: NoRoom) -> Failure {
        Failure {
            fault: Fault::NoRoom(no_room),
            sent: true,
        }
    }

    /// The same; if the client has gone, with whether any try was sent before that.
    pub fn of_one_gone(mut self, was_sent: bool) -> Failure {
        self.sent |= was_sent && matches!(self.fault, Fault::ClientGone);
        self
    }

    /// Whether a client without the proxy would have lost its connection, or found no server to connect to.
    pub fn is_loss_of_server(&self) -> bool {
        match &self.fault {
            Fault::LinkLost(_) | Fault::Unreachable { .. } => true,
            // (Another member that doesn't exist is the request's own matter.)
            Fault::NoServer { wanted, .. } => wanted == "primary",
            _ => false,
        }
    }

    /// The error that the client gets: what a mongos would answer in the same place,
    /// with the labels that a driver needs to retry by the specifications.
    pub fn reply(&self, command: &Command) -> ErrorReply {
        let code = match &self.fault {
            // The cursor is still there, its batch is lost for want of memory: the error names that.
            Fault::NoRoom(_) => codes::EXCEEDED_MEMORY_LIMIT,
            // A batch may have been lost with the link, so the cursor can't be continued. On this
            // code drivers resume a change stream, as they do when connected directly.
            _ if command.kind == Kind::GetMore && self.sent => codes::CURSOR_NOT_FOUND,
            Fault::Unreachable { .. } | Fault::LinkLost(_) => codes::HOST_UNREACHABLE,
            Fault::NoServer { .. } => codes::FAILED_TO_SATISFY_READ_PREFERENCE,
            Fault::WaitQueueTimeout { .. } | Fault::LoginTimeout { .. } => {
                codes::EXCEEDED_TIME_LIMIT
            }
            Fault::MaxTimeExpired => codes::MAX_TIME_MS_EXPIRED,
            Fault::ClientGone => codes::CLIENT_DISCONNECT,
            Fault::PrincipalGone => codes::SHUTDOWN_IN_PROGRESS,
            Fault::Overloaded { .. } => codes::RATE_LIMIT_EXCEEDED,
        };
        let error = ErrorReply::new(code, self);
        match self.fault {
            Fault::MaxTimeExpired => return error,
            // Drivers that know these labels retry later, and the others not at all.
            Fault::Overloaded { .. } => {
                return error
                    .label(labels::SYSTEM_OVERLOADED)
                    .label(labels::RETRYABLE);
            }
            // What a mongos adds for a change stream, which its driver resumes behind the last event that it has
            // and loses none. Drivers read this label for change streams only: other cursors end with the error.
            _ if command.kind == Kind::GetMore && !command.in_transaction => {
                return error.label(labels::RESUMABLE_CHANGE_STREAM);
            }
            _ => {}
        }
        match command.kind {
            Kind::Commit => error
                .label(labels::RETRYABLE_WRITE)
                .label(labels::UNKNOWN_COMMIT),
            Kind::Abort => error.label(labels::RETRYABLE_WRITE),
            _ if command.in_transaction => error.label(labels::TRANSIENT_TRANSACTION),
            _ if command.is_retryable_write() => error.label(labels::RETRYABLE_WRITE),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use std::time::Duration;

    use super::*;
    use crate::memory::Pressure;
    use crate::pipeline::scripted::request;

    fn reply(failure: &Failure, document: bson::Document) -> ErrorReply {
        failure.reply(&request(&document).command)
    }

    #[test]
    fn a_lost_link_is_labelled_as_a_mongos_would() {
        let lost = Failure::lost("gone");
        let lsid = doc! {"id": 1};
        let find = reply(&lost, doc! {"find": "c", "$db": "d"});
        assert_eq!((find.code, find.labels), (6, vec![]));
        let insert = doc! {"insert": "c", "lsid": &lsid, "txnNumber": 1_i64, "$db": "d"};
        assert_eq!(reply(&lost, insert).labels, [labels::RETRYABLE_WRITE]);
        let inside =
            doc! {"find": "c", "lsid": &lsid, "txnNumber": 1_i64, "autocommit": false, "$db": "d"};
        assert_eq!(reply(&lost, inside).labels, [labels::TRANSIENT_TRANSACTION]);
        let commit = doc! {"commitTransaction": 1, "lsid": &lsid, "txnNumber": 1_i64, "autocommit": false, "$db": "admin"};
        assert_eq!(
            reply(&lost, commit).labels,
            [labels::RETRYABLE_WRITE, labels::UNKNOWN_COMMIT]
        );
    }

    #[test]
    fn what_no_server_answers_is_a_loss_and_what_the_proxy_refuses_is_none() {
        let no = |wanted: &str| Fault::NoServer {
            wanted: wanted.to_owned(),
            waited_ms: 1,
        };
        let gone = Fault::Unreachable {
            server: "the primary",
            reason: "refused".to_owned(),
        };
        let losses = [Fault::LinkLost("gone".to_owned()), gone, no("primary")];
        assert!(losses.map(|f| Failure::unsent(f).is_loss_of_server()) == [true; 3]);
        let others = [no("secondary"), Fault::MaxTimeExpired, Fault::PrincipalGone];
        assert!(others.map(|f| Failure::unsent(f).is_loss_of_server()) == [false; 3]);
    }

    #[test]
    fn a_get_more_whose_link_is_lost_has_lost_its_cursor() {
        let more = doc! {"getMore": 5_i64, "collection": "c", "$db": "d"};
        assert_eq!(reply(&Failure::lost("gone"), more.clone()).code, 43);
        let unsent = Failure::unsent(Fault::PrincipalGone);
        assert_eq!(reply(&unsent, more).code, 91);
    }

    #[test]
    fn a_get_more_without_memory_for_its_reply_names_the_memory() {
        let failure = Failure::unread(NoRoom {
            bytes: 20_000_000,
            waited: Duration::from_secs(5),
            budget: 8 << 20,
            pressure: Pressure::Tight,
        });
        let more = doc! {"getMore": 5_i64, "collection": "c", "$db": "d"};
        let error = reply(&failure, more.clone());
        assert_eq!((error.code, error.code_name), (146, "ExceededMemoryLimit"));
        assert!(
            error
                .message
                .contains("no memory for a message of 20000000 bytes")
        );
        assert_eq!(error.labels, [labels::RESUMABLE_CHANGE_STREAM]);
        let mut inside = more;
        inside.extend(doc! {"lsid": {"id": 1}, "txnNumber": 1_i64, "autocommit": false});
        let error = reply(&failure, inside);
        assert_eq!(
            (error.code, error.labels),
            (146, vec![labels::TRANSIENT_TRANSACTION])
        );
    }
}
