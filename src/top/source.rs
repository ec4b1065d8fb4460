//! Asking the admin HTTP.

use std::time::Duration;

use serde_json::Value;
use ureq::http::StatusCode;

/// Where the answers come from.
pub(super) struct Source {
    address: String,
    token: Option<String>,
    agent: ureq::Agent,
}

/// Everything at one moment. A list that this proxy doesn't have is null.
#[derive(Debug, Default)]
pub(super) struct World {
    /// `/api/snapshot`: time, rates and the whole status.
    pub snapshot: Value,
    pub shapes: Value,
    pub slow: Value,
    pub advice: Value,
    pub memory: Value,
}

/// What the asking thread tells.
pub(super) enum News {
    Past(Value),
    Answer(Box<World>),
    Lost(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no proxy answers at {address}: {reason}")]
    Unreachable { address: String, reason: String },
    #[error("{address} wants a token: give admin.token as PETIOLE_ADMIN_TOKEN or --token")]
    Locked { address: String },
    #[error("{address} isn't a Petiole of this version: {path} answers {what}")]
    Strange {
        address: String,
        path: &'static str,
        what: String,
    },
}

impl Source {
    pub fn new(address: &str, token: Option<String>) -> Source {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Source {
            address: address.to_owned(),
            token,
            agent: agent.into(),
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn history(&self) -> Result<Value, NoAnswer> {
        self.needed("/api/history")
    }

    pub fn world(&self) -> Result<World, NoAnswer> {
        Ok(World {
            snapshot: self.needed("/api/snapshot")?,
            shapes: self.get("/api/shapes")?.unwrap_or_default(),
            slow: self.get("/api/slow")?.unwrap_or_default(),
            advice: self.get("/api/advice")?.unwrap_or_default(),
            memory: self.get("/api/memory")?.unwrap_or_default(),
        })
    }

    fn needed(&self, path: &'static str) -> Result<Value, NoAnswer> {
        let missing = || self.strange(path, &"nothing");
        self.get(path)?.ok_or_else(missing)
    }

    /// `None`: there is no such path.
    fn get(&self, path: &'static str) -> Result<Option<Value>, NoAnswer> {
        let mut request = self.agent.get(format!("http://{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let unreachable = |reason: ureq::Error| NoAnswer::Unreachable {
            address: self.address.clone(),
            reason: reason.to_string(),
        };
        let mut answer = request.call().map_err(unreachable)?;
        match answer.status() {
            StatusCode::OK => {
                let limited = answer.body_mut().with_config().limit(LARGEST);
                let text = limited.read_to_string().map_err(unreachable)?;
                let value = serde_json::from_str(&text);
                value.map(Some).map_err(|error| self.strange(path, &error))
            }
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED => Err(NoAnswer::Locked {
                address: self.address.clone(),
            }),
            status => Err(self.strange(path, &status)),
        }
    }

    fn strange(&self, path: &'static str, what: &dyn std::fmt::Display) -> NoAnswer {
        NoAnswer::Strange {
            address: self.address.clone(),
            path,
            what: what.to_string(),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(3);
/// More than any answer is.
const LARGEST: u64 = 64 << 20;
