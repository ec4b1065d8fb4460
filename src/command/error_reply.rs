//! The one place where an error of our own becomes a reply document.

use bytes::Bytes;

use crate::wire::build::DocBuf;

/// An error that the proxy answers in the server's own form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// MongoDB's number for it.
    pub code: i32,
    /// MongoDB's name for it.
    pub code_name: &'static str,
    /// What was wrong and what to do. Starts with `petiole:`.
    pub message: String,
    /// `errorLabels`: what a mongos would say of the same fault.
    pub labels: Vec<&'static str>,
}

impl ErrorReply {
    /// An error with a code from [`codes`].
    pub fn new(code: (i32, &'static str), message: impl std::fmt::Display) -> ErrorReply {
        ErrorReply {
            code: code.0,
            code_name: code.1,
            message: format!("petiole: {message}"),
            labels: Vec::new(),
        }
    }

    /// The same with a label.
    pub fn label(mut self, label: &'static str) -> ErrorReply {
        self.labels.push(label);
        self
    }

    /// The reply document.
    pub fn document(&self) -> Bytes {
        let mut doc = DocBuf::new();
        doc.append_f64("ok", 0.0);
        doc.append_str("errmsg", &self.message);
        doc.append_i32("code", self.code);
        doc.append_str("codeName", self.code_name);
        if !self.labels.is_empty() {
            doc.append_strs("errorLabels", &self.labels);
        }
        Bytes::from(doc.finish())
    }
}

/// Codes from the server's `error_codes.yml` that the proxy itself answers with.
pub mod codes {
    /// A peer can't be reached, or the connection to it was lost.
    pub const HOST_UNREACHABLE: (i32, &str) = (6, "HostUnreachable");
    /// The client has closed its connection.
    pub const CLIENT_DISCONNECT: (i32, &str) = (279, "ClientDisconnect");
    /// A value that can't be.
    pub const BAD_VALUE: (i32, &str) = (2, "BadValue");
    /// Not possible here, for nobody.
    pub const COMMAND_NOT_SUPPORTED: (i32, &str) = (115, "CommandNotSupported");
    /// Not for this user.
    pub const UNAUTHORIZED: (i32, &str) = (13, "Unauthorized");
    /// A SASL conversation or `authenticate` failed.
    pub const AUTHENTICATION_FAILED: (i32, &str) = (18, "AuthenticationFailed");
    /// A step of a protocol came out of turn.
    pub const PROTOCOL_ERROR: (i32, &str) = (17, "ProtocolError");
    /// A cursor can't be continued; drivers resume change streams on it.
    pub const CURSOR_NOT_FOUND: (i32, &str) = (43, "CursorNotFound");
    /// The operation's own `maxTimeMS` ran out.
    pub const MAX_TIME_MS_EXPIRED: (i32, &str) = (50, "MaxTimeMSExpired");
    /// There is no memory for it.
    pub const EXCEEDED_MEMORY_LIMIT: (i32, &str) = (146, "ExceededMemoryLimit");
    /// The server is going away; drivers reconnect.
    pub const SHUTDOWN_IN_PROGRESS: (i32, &str) = (91, "ShutdownInProgress");
    /// No server fits the read preference (or there is no primary).
    pub const FAILED_TO_SATISFY_READ_PREFERENCE: (i32, &str) =
        (133, "FailedToSatisfyReadPreference");
    /// A limit on waiting was reached.
    pub const EXCEEDED_TIME_LIMIT: (i32, &str) = (262, "ExceededTimeLimit");
    /// More than is admitted ("Client Backpressure" specification): nothing was executed.
    pub const RATE_LIMIT_EXCEEDED: (i32, &str) = (462, "IngressRequestRateLimitExceeded");
}

/// Error labels that drivers act on.
pub mod labels {
    /// A retryable write may be sent again with the same `txnNumber`.
    pub const RETRYABLE_WRITE: &str = "RetryableWriteError";
    /// The whole transaction may be run again.
    pub const TRANSIENT_TRANSACTION: &str = "TransientTransactionError";
    /// The commit may be sent again.
    pub const UNKNOWN_COMMIT: &str = "UnknownTransactionCommitResult";
    /// The server is overloaded: whoever retries waits first.
    pub const SYSTEM_OVERLOADED: &str = "SystemOverloadedError";
    /// Nothing was executed: any command may be sent again.
    pub const RETRYABLE: &str = "RetryableError";
    /// A change stream may be opened again behind the last event that its reader has.
    pub const RESUMABLE_CHANGE_STREAM: &str = "ResumableChangeStreamError";
    /// The failed try of a write has changed nothing: an earlier error says more.
    pub const NO_WRITES_PERFORMED: &str = "NoWritesPerformed";
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    #[test]
    fn an_error_reads_like_the_servers_own() {
        let error =
            ErrorReply::new(codes::HOST_UNREACHABLE, "no upstream").label(labels::RETRYABLE_WRITE);
        let document = Document::from_reader(&mut error.document().as_ref()).unwrap();
        let expected = doc! {
            "ok": 0.0, "errmsg": "petiole: no upstream", "code": 6, "codeName": "HostUnreachable",
            "errorLabels": ["RetryableWriteError"],
        };
        assert_eq!(document, expected);
    }
}
