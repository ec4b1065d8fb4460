//! How spans go out: one blocking HTTP request at a time, on the exporter's own thread.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use crate::config::HttpUrl;

/// Asks the collector, and says in the log when that stops to work and when it works again.
#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    endpoint: String,
    is_down: AtomicBool,
}

impl Client {
    pub fn new(endpoint: &HttpUrl) -> Client {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Client {
            agent: agent.into(),
            endpoint: endpoint.to_string(),
            is_down: AtomicBool::new(false),
        }
    }

    fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, body.to_vec());
        let (parts, body) = self.agent.run(request)?.into_parts();
        let answer = body.into_with_config().limit(LARGEST).read_to_vec()?;
        Ok(Response::from_parts(parts, answer.into()))
    }

    /// Once for each change, however many requests fail.
    fn note(&self, problem: Option<String>) {
        let (is, was) = (
            problem.is_some(),
            self.is_down.swap(problem.is_some(), Relaxed),
        );
        let endpoint = self.endpoint.as_str();
        match problem {
            Some(reason) if !was => {
                tracing::warn!(target: "petiole::traces", endpoint, reason, "the collector takes no spans");
            }
            None if was && !is => {
                tracing::info!(target: "petiole::traces", endpoint, "the collector takes spans again");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.ask(request);
        self.note(match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(error.to_string()),
        });
        Ok(answer?)
    }
}

/// For one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any collector has to say.
const LARGEST: u64 = 1 << 20;
