//! What to do when the watch meets an error.

use mongodb::error::{Error, ErrorKind};

use super::Impossible;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The driver or the server says so.
    #[error("{0}")]
    Driver(#[from] Error),
    /// There can't be one here.
    #[error("{0}")]
    Impossible(#[from] Impossible),
    /// The server closed it, doesn't answer, or says what nobody understands.
    #[error("{0}")]
    Ended(&'static str),
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Fate {
    /// A stream from where the last one had come to.
    Resume,
    /// The same, but if it happens again and again, as if it were lost.
    Doubt,
    /// A stream from the present, for what was missed is gone.
    Lost,
    /// The same without the first of these that was asked for: the server doesn't know it.
    Without(&'static [Feature]),
    /// The end.
    Impossible(Impossible),
}

/// What only newer servers can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    /// `showSystemEvents`, 6.0: not documented, and the only way to hear of time series.
    SystemEvents,
    /// `showExpandedEvents`, 6.0.
    ExpandedEvents,
    /// `$changeStreamSplitLargeEvent`, 6.0.9 and 7.0.
    SplitLargeEvent,
}

impl Broken {
    pub(super) fn fate(self) -> Fate {
        let error = match self {
            Broken::Driver(error) => error,
            Broken::Impossible(reason) => return Fate::Impossible(reason),
            Broken::Ended(_) => return Fate::Resume,
        };
        match error.kind.as_ref() {
            ErrorKind::Command(command) => match command.code {
                UNKNOWN_STAGE => Fate::Without(&[Feature::SplitLargeEvent]),
                UNKNOWN_FIELD => Fate::Without(&[Feature::SystemEvents, Feature::ExpandedEvents]),
                NOT_A_REPLICA_SET => {
                    Fate::Impossible(Impossible::Deployment("change streams need a replica set"))
                }
                UNAUTHORIZED | AUTHENTICATION_FAILED => Fate::Impossible(no_rights(&error)),
                HISTORY_LOST | CAPPED_POSITION_LOST | TOO_LARGE | FATAL => Fate::Lost,
                _ if error.contains_label("NonResumableChangeStreamError") => Fate::Lost,
                _ => Fate::Doubt,
            },
            ErrorKind::Authentication { .. } => Fate::Impossible(no_rights(&error)),
            ErrorKind::InvalidTlsConfig { .. }
            | ErrorKind::InvalidArgument { .. }
            | ErrorKind::IncompatibleServer { .. }
            | ErrorKind::SessionsNotSupported => {
                Fate::Impossible(Impossible::Fault(error.to_string()))
            }
            _ => Fate::Resume,
        }
    }
}

fn no_rights(error: &Error) -> Impossible {
    Impossible::Fault(format!(
        "the user of upstream.uri may not open a change stream on the deployment; grant it readAnyDatabase on admin ({})",
        error.kind
    ))
}

const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;
const CAPPED_POSITION_LOST: i32 = 136;
/// `ChangeStreamFatalError`.
const FATAL: i32 = 280;
/// `ChangeStreamHistoryLost`.
const HISTORY_LOST: i32 = 286;
/// `BSONObjectTooLarge`: an event beyond 16 MB from a server that can't split it.
const TOO_LARGE: i32 = 10334;
const UNKNOWN_STAGE: i32 = 40324;
const UNKNOWN_FIELD: i32 = 40415;
const NOT_A_REPLICA_SET: i32 = 40573;
