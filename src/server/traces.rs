//! What a span says of a request: OpenTelemetry's semantic conventions for databases, and what the
//! proxy made of it under `petiole.`. Never a value, and nothing of a user.
//!
//! The request's own span is that of a server; each exchange with a mongod is one of a client,
//! beneath it. A write that left in a batch has the batch's exchange.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Array, KeyValue, StringValue, Value};

use super::durations::Outcome;
use crate::command::{Command, shape_collection};
use crate::observe::traces::{Told, Traces};
use crate::pipeline::{self, Decision, Ending, Exchange, Exchanges, Request};

/// A request that was picked.
pub(super) struct Traced<'a> {
    traces: &'a Traces,
    exchanges: Exchanges,
}

impl<'a> Traced<'a> {
    /// `None` for nearly all requests.
    pub fn begin(traces: Option<&'a Traces>, request: &mut Request) -> Option<Traced<'a>> {
        let traces = traces.filter(|traces| traces.picks())?;
        let exchanges = Exchanges::default();
        request.listeners.push(exchanges.clone());
        Some(Traced { traces, exchanges })
    }

    /// The request is over; without an outcome, since its client has left.
    pub fn end(self, request: &Request, outcome: Option<&pipeline::Outcome>, took: Duration) {
        let exchanges = self.exchanges.take();
        let told = told(request, outcome, took, &exchanges, SystemTime::now());
        self.traces.tell(told);
    }
}

fn told(
    request: &Request,
    outcome: Option<&pipeline::Outcome>,
    took: Duration,
    exchanges: &[Exchange],
    now: SystemTime,
) -> Told {
    let command = &request.command;
    let mut attributes = described(command);
    let decisions = request.trail.iter().map(Decision::as_str);
    let decisions: Vec<StringValue> = decisions.map(StringValue::from).collect();
    let upstream: Duration = exchanges.iter().map(|exchange| exchange.took).sum();
    let failed = outcome.is_none_or(Result::is_err);
    let kind = Outcome::of(&request.trail, failed);
    attributes.push(KeyValue::new("petiole.outcome", kind.as_str()));
    attributes.push(KeyValue::new(
        "petiole.decisions",
        Value::Array(Array::String(decisions)),
    ));
    attributes.push(KeyValue::new("petiole.server_share", share(upstream, took)));
    if let Some(reason) = request.trail.iter().find_map(Decision::bypass) {
        attributes.push(KeyValue::new("petiole.bypass", reason.as_str()));
    }
    let code = match outcome {
        Some(Ok(reply)) => reply.view().code,
        Some(Err(failure)) => Some(failure.reply(command).code),
        None => None,
    };
    let code = code.map(|code| code.to_string());
    if let Some(code) = &code {
        attributes.push(KeyValue::new("db.response.status_code", code.clone()));
    }
    let problem = match outcome {
        Some(_) => code.as_deref(),
        None => Some("client_gone"),
    };
    if let Some(problem) = problem {
        attributes.push(KeyValue::new("error.type", problem.to_owned()));
    }
    let began = now - took;
    Told {
        name: name(command),
        kind: SpanKind::Server,
        began,
        took,
        status: status(problem),
        attributes,
        parts: exchanges
            .iter()
            .map(|exchange| {
                let after = exchange.began.saturating_duration_since(request.received);
                part(command, exchange, began + after)
            })
            .collect(),
    }
}

/// An exchange with a server.
fn part(command: &Command, exchange: &Exchange, began: SystemTime) -> Told {
    let mut attributes = described(command);
    attributes.push(KeyValue::new("server.address", exchange.host.clone()));
    attributes.push(KeyValue::new("server.port", i64::from(exchange.port)));
    let problem = match exchange.ending {
        Ending::Answered => None,
        Ending::Unanswered => Some("unanswered"),
    };
    if let Some(problem) = problem {
        attributes.push(KeyValue::new("error.type", problem));
    }
    Told {
        name: name(command),
        kind: SpanKind::Client,
        began,
        took: exchange.took,
        status: status(problem),
        attributes,
        parts: Vec::new(),
    }
}

/// `find items`, as the conventions have it. (What other commands begin with may be the name of a user.)
fn name(command: &Command) -> String {
    let target = shape_collection(command).unwrap_or(command.db());
    format!("{} {}", short(command.name()), short(target))
}

fn described(command: &Command) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("db.system.name", "mongodb"),
        KeyValue::new("db.namespace", short(command.db())),
        KeyValue::new("db.operation.name", short(command.name())),
    ];
    if let Some(collection) = shape_collection(command) {
        attributes.push(KeyValue::new("db.collection.name", short(collection)));
    }
    attributes
}

/// (Without a description: a server's text may quote values.)
fn status(problem: Option<&str>) -> Status {
    match problem {
        Some(_) => Status::error(""),
        None => Status::Unset,
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    match whole.is_zero() {
        true => 0.0,
        false => (part.as_secs_f64() / whole.as_secs_f64()).min(1.0),
    }
}

/// Names come from clients.
fn short(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

/// A namespace has at most 255 bytes.
const LONGEST_NAME: usize = 255;
