//! Secrets from elsewhere: from the environment, or from files of their own, so that neither proxy.toml nor a list of
//! processes shows them.
//!
//! The last source that names a secret wins, as for all keys: proxy.toml, then the environment, then the command line.
//! A source that names the value ends an earlier one's file, and the other way round; proxy.toml naming both is a mistake.

use std::path::PathBuf;

use super::Config;
use super::value::SecretSource;

/// A secret and where else it may come from.
pub(super) struct Secret {
    /// Its key, and its path.
    pub key: &'static str,
    pub path: [&'static str; 2],
    /// The key that names a file with it.
    pub file_key: &'static str,
    pub file_path: [&'static str; 2],
    /// The environment variable that may hold it.
    pub variable: &'static str,
    came_from: fn(&mut Config, SecretSource),
}

pub(super) const SECRETS: [Secret; 2] = [
    Secret {
        key: "upstream.uri",
        path: ["upstream", "uri"],
        file_key: "upstream.uri_file",
        file_path: ["upstream", "uri_file"],
        variable: "PETIOLE_UPSTREAM_URI",
        came_from: |config, source| config.upstream.uri.came_from(source),
    },
    Secret {
        key: "admin.token",
        path: ["admin", "token"],
        file_key: "admin.token_file",
        file_path: ["admin", "token_file"],
        variable: "PETIOLE_ADMIN_TOKEN",
        came_from: |config, source| {
            if let Some(token) = &mut config.admin.token {
                token.came_from(source);
            }
        },
    },
];

impl Secret {
    /// Its two keys and their paths.
    pub fn both(&self) -> [(&'static str, &[&'static str]); 2] {
        [(self.key, &self.path), (self.file_key, &self.file_path)]
    }

    /// Notes in the configuration where it came from.
    pub fn note(&self, config: &mut Config, elsewhere: Elsewhere) {
        let source = match elsewhere {
            Elsewhere::Environment => SecretSource::Environment(self.variable),
            Elsewhere::File(path) => SecretSource::File(path),
        };
        (self.came_from)(config, source);
    }
}

/// Where it was found.
#[derive(Clone, Debug)]
pub(super) enum Elsewhere {
    Environment,
    File(PathBuf),
}

/// The secret that a file holds: its only line.
pub(super) fn read(path: &str) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{path} can't be read: {error}"))?;
    match text.trim() {
        "" => Err(format!("{path} is empty")),
        text if text.contains(['\n', '\r']) => Err(format!("{path} has more than one line")),
        text => Ok(text.to_owned()),
    }
}
