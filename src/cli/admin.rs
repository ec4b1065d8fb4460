//! Asking the admin side of a running proxy.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

/// Where a running proxy's admin side is.
#[derive(Debug, clap::Args)]
pub(super) struct AdminAt {
    /// Address of the running proxy's admin HTTP
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9216")]
    admin: String,
    /// Its admin.token, if it has one; PETIOLE_ADMIN_TOKEN does as well, and doesn't show in process lists
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

impl AdminAt {
    /// `GET path`, as JSON.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        let admin = &self.admin;
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let mut request = agent.get(format!("http://{admin}{path}"));
        let from_environment = || std::env::var("PETIOLE_ADMIN_TOKEN").ok();
        if let Some(token) = self.token.clone().or_else(from_environment) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut answer = request
            .call()
            .with_context(|| format!("no proxy answers at {admin}"))?;
        let status = answer.status();
        let text = answer.body_mut().read_to_string()?;
        if !status.is_success() {
            bail!("{admin} answered {status}: {}", text.trim());
        }
        serde_json::from_str(&text).with_context(|| format!("{admin} didn't answer with JSON"))
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
