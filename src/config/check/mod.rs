//! Rules that no single value's type can express: limits, files, and keys that must fit each
//! other. The PEM files of TLS are read; nothing is resolved, connected or bound.

mod rules;
mod tls;
mod uri;

use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::mistake::Mistake;
use super::{Config, Console, HostPort, Token};

/// A mistake and the keys that it was concluded from.
pub(super) struct Found {
    pub(super) mistake: Mistake,
    pub(super) depends_on: Vec<&'static str>,
    /// Of a list: the place of the item that it is about.
    pub(super) item: Option<usize>,
}

/// Every rule that `config` breaks.
pub(super) fn check(config: &Config) -> Vec<Found> {
    let mut found = Findings(Vec::new());
    limits(config, &mut found);
    shares(config, &mut found);
    tls::server(config, &mut found);
    tls::upstream(config, &mut found);
    uri::check(config, &mut found);
    rules::cache(config, &mut found);
    rules::user(config, &mut found);
    admin(config, &mut found);
    memory(config, &mut found);
    log(config, &mut found);
    traces(config, &mut found);
    found.0
}

struct Findings(Vec<Found>);

impl Findings {
    fn add(&mut self, depends_on: &[&'static str], what: impl Into<String>, help: &str) {
        self.0.push(Found {
            mistake: Mistake {
                key: depends_on.first().copied().unwrap_or_default().to_owned(),
                what: what.into(),
                help: help.to_owned(),
                origin: String::new(),
            },
            depends_on: depends_on.to_vec(),
            item: None,
        });
    }

    /// What is wrong with one item of a list.
    fn add_item(&mut self, key: &'static str, item: usize, what: impl Into<String>, help: &str) {
        self.add(&[key], what, help);
        if let Some(found) = self.0.last_mut() {
            found.item = Some(item);
        }
    }
}

fn limits(config: &Config, found: &mut Findings) {
    let Config {
        server,
        upstream,
        cache,
        ..
    } = config;
    for (key, value) in [
        ("server.frame_timeout", server.frame_timeout),
        ("server.login_timeout", server.login_timeout),
        ("upstream.connect_timeout", upstream.connect_timeout),
        ("upstream.wait_timeout", upstream.wait_timeout),
        ("cache.principal_ttl", cache.principal_ttl),
        ("cache.quarantine", cache.quarantine),
        ("batch.max_wait", config.batch.max_wait),
        ("advice.interval", config.advice.interval),
        ("advice.explain_max_time", config.advice.explain_max_time),
        ("advice.unused_after", config.advice.unused_after),
    ] {
        if value.is_zero() {
            found.add(&[key], "may not be zero", "give it a time, such as \"10s\"");
        }
    }
    for (key, value) in [
        ("server.max_clients", server.max_clients),
        ("upstream.max_links", upstream.max_links),
        ("upstream.max_login_links", upstream.max_login_links),
    ] {
        if !(1..=MOST_CONNECTIONS).contains(&value) {
            let help = format!("use 1 to {MOST_CONNECTIONS}");
            found.add(&[key], format!("{value} is out of range"), &help);
        }
    }
    for (key, value) in [
        ("batch.at_once", config.batch.at_once),
        ("batch.max_documents", config.batch.max_documents),
        ("batch.journal", config.batch.journal),
    ] {
        if !(1..=MOST_CONNECTIONS).contains(&value) {
            let help = format!("use 1 to {MOST_CONNECTIONS}");
            found.add(&[key], format!("{value} is out of range"), &help);
        }
    }
    if !(1..=LONGEST_MESSAGE_LIMIT).contains(&config.batch.max_size.as_u64()) {
        found.add(
            &["batch.max_size"],
            format!("{} is out of range", config.batch.max_size),
            "use up to what the server takes in one message, 48MB",
        );
    }
    if !(1..=MOST_SHAPES).contains(&config.profile.max_shapes) {
        found.add(
            &["profile.max_shapes"],
            format!("{} is out of range", config.profile.max_shapes),
            &format!("use 1 to {MOST_SHAPES}"),
        );
    }
    if config.profile.slow_threshold < Duration::from_millis(1) {
        found.add(
            &["profile.slow_threshold"],
            "is shorter than 1ms",
            "use \"1ms\" or longer",
        );
    }
    let share = config.advice.explain_share;
    if !(0.0..=1.0).contains(&share) {
        found.add(
            &["advice.explain_share"],
            format!("{share} is out of range"),
            "use 0 to 1; 0.01 is one percent",
        );
    }
    if server.threads > MOST_THREADS {
        found.add(
            &["server.threads"],
            format!("{} is more than {MOST_THREADS}", server.threads),
            "0 takes one thread per core, which is nearly always best",
        );
    }
    if upstream.heartbeat < SHORTEST_HEARTBEAT {
        found.add(
            &["upstream.heartbeat"],
            "is shorter than 500ms, the shortest that MongoDB's drivers allow",
            "use \"500ms\" or longer",
        );
    }
    let size = server.max_message_size.as_u64();
    if !(SHORTEST_MESSAGE_LIMIT..=LONGEST_MESSAGE_LIMIT).contains(&size) {
        found.add(
            &["server.max_message_size"],
            format!("{} is out of range", server.max_message_size),
            "use 16793600B (one document of the largest size) to 2147483647B; MongoDB's own limit is 48MB",
        );
    }
    if server
        .advertise
        .as_ref()
        .is_some_and(|address| address.port == 0)
    {
        found.add(
            &["server.advertise"],
            "port 0 is no address that a client could connect to",
            "name the port, or leave it empty to advertise the address each client connected to",
        );
    }
}

fn shares(config: &Config, found: &mut Findings) {
    let Config {
        retry, admission, ..
    } = config;
    if !(0.0..=1.0).contains(&retry.budget_share) {
        let what = format!("{} is out of range", retry.budget_share);
        found.add(&["retry.budget_share"], what, "give a number from 0 to 1");
    }
    for (key, share) in [
        ("admission.namespace_share", admission.namespace_share),
        ("admission.server_share", admission.server_share),
    ] {
        if !(share > 0.0 && share <= 1.0) {
            let help = "give a number above 0, and at most 1";
            found.add(&[key], format!("{share} is out of range"), help);
        }
    }
    if admission.max_queue == 0 {
        let help = "give at least 1; clients wait whenever all links are in use";
        found.add(&["admission.max_queue"], "nobody may wait", help);
    }
    for (key, n) in [
        ("retry.retries", retry.retries),
        ("retry.overload_retries", retry.overload_retries),
    ] {
        if n > MOST_RETRIES {
            found.add(
                &[key],
                format!("{n} is too many"),
                "give at most 5; 0 = none",
            );
        }
    }
}

fn admin(config: &Config, found: &mut Findings) {
    let admin = &config.admin;
    let sendable = |token: &Token| token.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if admin.token.as_ref().is_some_and(|token| !sendable(token)) {
        found.add(
            &["admin.token"],
            "holds a character that an HTTP header can't carry",
            "use letters, digits and ASCII punctuation, without spaces",
        );
    }
    if let Some(length) = admin.token.as_ref().map(|token| token.expose().len())
        && length < SHORTEST_TOKEN
    {
        found.add(
            &["admin.token"],
            format!(
                "has {length} characters and can be guessed; it needs {SHORTEST_TOKEN} at least"
            ),
            "make one with: openssl rand -hex 16",
        );
    }
    if let Console::Principals(names) = &admin.console {
        let is_user = |name: &String| {
            name.split_once('.')
                .is_some_and(|(db, user)| !db.is_empty() && !user.is_empty())
        };
        if let Some(name) = names.iter().find(|name| !is_user(name)) {
            found.add(
                &["admin.console"],
                format!("{name:?} names no user"),
                "write \"database.user\", such as \"admin.root\", or \"anyone\" by itself",
            );
        }
    }
    let Some(listen) = &admin.listen else { return };
    if admin.token.is_none() && !listen.is_loopback() {
        found.add(
            &["admin.token", "admin.listen"],
            format!("is empty, but admin.listen ({listen}) can be reached from other machines"),
            "set a token, or listen on 127.0.0.1",
        );
    }
    if is_same_listener(&config.server.listen, listen) {
        found.add(
            &["admin.listen", "server.listen"],
            format!("{listen} is where server.listen listens too"),
            "give one of them another port",
        );
    }
}

fn log(config: &Config, found: &mut Findings) {
    let level = &config.log.level;
    let help = "use off, error, warn, info, debug or trace, or pairs such as \"info,petiole::advice=debug\"";
    // The filter takes any bare word as a target's name, so that a misspelt level would pass.
    let is_level = |part: &str| {
        !part.is_empty() && (part.contains(['=', '[']) || part.parse::<LevelFilter>().is_ok())
    };
    let misspelt = level.split(',').map(str::trim).find(|part| !is_level(part));
    if let Some(part) = misspelt {
        found.add(&["log.level"], format!("{part:?} is not a level"), help);
    } else if let Err(error) = EnvFilter::builder().parse(level) {
        found.add(
            &["log.level"],
            format!("{level:?} is not a filter: {error}"),
            help,
        );
    }
}

fn memory(config: &Config, found: &mut Findings) {
    let memory = &config.memory;
    if let Some(limit) = memory.limit
        && limit.as_u64() < LEAST_MEMORY
    {
        found.add(
            &["memory.limit"],
            format!("{limit} isn't enough"),
            "the process needs 64MiB at least; 192MiB and more leave room for a cache and large replies",
        );
    }
    if memory.max_wait.is_zero() {
        found.add(
            &["memory.max_wait"],
            "may not be zero",
            "give it a time, such as \"5s\"",
        );
    }
    if memory.leak_window < SHORTEST_LEAK_WINDOW {
        found.add(
            &["memory.leak_window"],
            "is too short to tell growth from noise",
            "use \"5s\" or longer; \"10m\" suits most",
        );
    }
}

fn traces(config: &Config, found: &mut Findings) {
    let traces = &config.traces;
    if !(0.0..=1.0).contains(&traces.share) {
        found.add(
            &["traces.share"],
            format!("{} is not a share", traces.share),
            "use a number from 0 to 1; 0.01 is one request in a hundred",
        );
    }
    if traces.service_name.trim().is_empty() {
        found.add(
            &["traces.service_name"],
            "is empty: nobody would know whose spans they are",
            "give it a name, such as \"petiole\"",
        );
    }
}

/// Whether connecting to `other` would reach, or listening on it would collide with, `listen`.
fn is_same_listener(listen: &HostPort, other: &HostPort) -> bool {
    let is_local = |address: &HostPort| address.is_loopback() || address.is_unspecified();
    listen.port != 0
        && listen.port == other.port
        && (listen.host.eq_ignore_ascii_case(&other.host) || is_local(listen) && is_local(other))
}

/// 64 bits, if somebody writes hexadecimal digits at random; more than can be tried over a network.
const SHORTEST_TOKEN: usize = 16;
/// A document of the largest size that MongoDB accepts from clients, and 16 KiB for its command.
const SHORTEST_MESSAGE_LIMIT: u64 = 16 * 1024 * 1024 + 16 * 1024;
/// A message's length is an int32.
const LONGEST_MESSAGE_LIMIT: u64 = i32::MAX as u64;
/// `minHeartbeatFrequencyMS` of the server discovery and monitoring specification.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(500);
/// Program, buffers, a few large replies.
const LEAST_MEMORY: u64 = 64 << 20;
/// A look every 50 ms.
const SHORTEST_LEAK_WINDOW: Duration = Duration::from_secs(5);
/// Shapes that may be kept: some 20 KiB each at most.
const MOST_SHAPES: usize = 100_000;
/// More than any machine gains from.
const MOST_THREADS: usize = 1024;
/// More than one process's ports and file descriptors allow for.
const MOST_CONNECTIONS: usize = 1_000_000;
/// More retries than that multiply the load of a server that has troubles already.
const MOST_RETRIES: u32 = 5;
