//! `[admin]`: the HTTP listener for health, metrics and status.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::console::Console;
use super::value::{self, HostPort, Token};

/// `[admin]`: where the HTTP side listens, and who may ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address of the HTTP listener; `None` = no listener.
    #[serde(with = "value::empty_is_none")]
    pub listen: Option<HostPort>,
    /// Bearer token; needed when `listen` is not a loopback address.
    #[serde(with = "value::empty_is_none")]
    pub token: Option<Token>,
    /// File that holds the token, and nothing else, in place of `token`; `None` = there is none.
    #[serde(with = "value::empty_is_none")]
    pub token_file: Option<PathBuf>,
    /// Who may ask the virtual database `petiole`.
    pub console: Console,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Some(HostPort::new("127.0.0.1", 9216)),
            token: None,
            token_file: None,
            console: Console::Off,
        }
    }
}
