//! Rules that no single value's type can express: limits, files, and keys that must fit each
//! other. The PEM files of TLS are read; nothing is resolved, connected or bound.

use std::path::Path;
use std::time::Duration;

use mongodb::error::ErrorKind;
use mongodb::options::{ConnectionString, HostInfo, ServerAddress};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::mistake::Mistake;
use super::{
    Config, Console, ExternalWrites, HostPort, RuledCommand, ServerTlsMode, Token, UpstreamTlsMode,
    UpstreamUri, UserRule, pem,
};

/// A mistake and the keys that it was concluded from.
pub(super) struct Found {
    pub(super) mistake: Mistake,
    pub(super) depends_on: Vec<&'static str>,
}

/// Every rule that `config` breaks.
pub(super) fn check(config: &Config) -> Vec<Found> {
    let mut found = Findings(Vec::new());
    limits(config, &mut found);
    shares(config, &mut found);
    server_tls(config, &mut found);
    upstream_tls(config, &mut found);
    uri(config, &mut found);
    cache(config, &mut found);
    rules(config, &mut found);
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
        });
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
    ] {
        if !(1..=MOST_CONNECTIONS).contains(&value) {
            let help = format!("use 1 to {MOST_CONNECTIONS}");
            found.add(&[key], format!("{value} is out of range"), &help);
        }
    }
    for (key, value) in [
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

fn server_tls(config: &Config, found: &mut Findings) {
    let tls = &config.server.tls;
    if tls.require_client_certificate && tls.client_ca.is_none() {
        found.add(
            &[
                "server.tls.require_client_certificate",
                "server.tls.client_ca",
            ],
            "needs server.tls.client_ca, to know whose certificates to accept",
            "set server.tls.client_ca to a PEM file of authorities",
        );
    }
    if tls.mode == ServerTlsMode::Off {
        if tls.require_client_certificate {
            found.add(
                &["server.tls.require_client_certificate", "server.tls.mode"],
                "has no effect, and so protects nothing, while server.tls.mode is \"off\"",
                "set server.tls.mode = \"on\"",
            );
        }
        return;
    }
    match &tls.certificate {
        None => found.add(
            &["server.tls.certificate", "server.tls.mode"],
            "is empty, but server.tls.mode is \"on\"",
            "name a PEM file with the certificate chain, leaf first",
        ),
        Some(certificate) => pair(
            ["server.tls.certificate", "server.tls.key"],
            certificate,
            tls.key.as_deref(),
            found,
        ),
    }
    authorities("server.tls.client_ca", tls.client_ca.as_deref(), found);
}

fn upstream_tls(config: &Config, found: &mut Findings) {
    let tls = &config.upstream.tls;
    if tls.mode == UpstreamTlsMode::Off {
        return;
    }
    match (&tls.certificate, &tls.key) {
        (Some(certificate), key) => pair(
            ["upstream.tls.certificate", "upstream.tls.key"],
            certificate,
            key.as_deref(),
            found,
        ),
        (None, Some(_)) => found.add(
            &["upstream.tls.key", "upstream.tls.certificate"],
            "is set, but upstream.tls.certificate is empty",
            "name the PEM file with the certificate of this key",
        ),
        (None, None) => {}
    }
    authorities("upstream.tls.ca", tls.ca.as_deref(), found);
}

/// A certificate and its key, which may be in the same file.
fn pair(keys: [&'static str; 2], certificate: &Path, key: Option<&Path>, found: &mut Findings) {
    let [certificate_key, key_key] = keys;
    let help = "name a PEM file that this process may read";
    let chain = pem::certificates(certificate);
    if let Err(error) = &chain {
        found.add(&[certificate_key], error.to_string(), help);
    }
    let same_file = key.is_none();
    let key = match pem::private_key(key.unwrap_or(certificate)) {
        Ok(key) => key,
        // One unreadable file is one mistake.
        Err(_) if same_file && chain.is_err() => return,
        Err(error) => return found.add(&[key_key, certificate_key], error.to_string(), help),
    };
    let key = match any_supported_type(&key) {
        Ok(key) => key,
        Err(error) => {
            let help = "use an RSA, ECDSA (P-256, P-384) or Ed25519 key";
            return found.add(&[key_key], format!("can't be used: {error}"), help);
        }
    };
    let Ok(chain) = chain else { return };
    // An inconsistency that can't be determined is left for the handshake to judge.
    match CertifiedKey::new(chain, key).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => found.add(
            &[key_key, certificate_key],
            format!("is not the key of {certificate_key}"),
            "name the private key that the certificate was made for; the file must start with the leaf certificate",
        ),
        Err(error) => found.add(
            &[certificate_key],
            format!("can't be used: {error}"),
            "name a PEM file with an X.509 certificate chain, leaf first",
        ),
    }
}

fn authorities(key: &'static str, path: Option<&Path>, found: &mut Findings) {
    let Some(path) = path else { return };
    match pem::certificates(path) {
        Err(error) => found.add(
            &[key],
            error.to_string(),
            "name a PEM file of certificate authorities",
        ),
        Ok(certificates) => {
            let (added, _) = rustls::RootCertStore::empty().add_parsable_certificates(certificates);
            if added == 0 {
                found.add(
                    &[key],
                    format!("no certificate in {} can be used", path.display()),
                    "name a PEM file of X.509 certificate authorities",
                );
            }
        }
    }
}

fn uri(config: &Config, found: &mut Findings) {
    let uri = &config.upstream.uri;
    let parsed = match ConnectionString::parse(uri.expose()) {
        Ok(parsed) => parsed,
        Err(error) => {
            return found.add(
                &["upstream.uri"],
                format!("{uri} is not a connection string: {}", why_not(uri, &error)),
                "write mongodb://host:port,host:port/?replicaSet=name or mongodb+srv://name; in user names and passwords, escape : / ? # [ ] @ % as %3A and so on",
            );
        }
    };
    let HostInfo::HostIdentifiers(hosts) = parsed.host_info else {
        return;
    };
    let listen = &config.server.listen;
    let own = |host: &ServerAddress| match host {
        ServerAddress::Tcp { host, port } => {
            is_same_listener(listen, &HostPort::new(host.as_str(), port.unwrap_or(27017)))
        }
        _ => false,
    };
    if hosts.iter().any(own) {
        found.add(
            &["upstream.uri", "server.listen"],
            format!("leads back to server.listen ({listen}): the proxy would talk to itself"),
            "name MongoDB's own address, or let the proxy listen elsewhere",
        );
    }
}

/// The driver's reason, unless it might quote a secret: it's repeated only if the masked connection
/// string fails for the very same reason.
fn why_not(uri: &UpstreamUri, error: &mongodb::error::Error) -> String {
    let reason = |error: &mongodb::error::Error| match error.kind.as_ref() {
        ErrorKind::InvalidArgument { message, .. } => message.clone(),
        _ => error.to_string(),
    };
    let reason_given = reason(error);
    match ConnectionString::parse(uri.to_string()) {
        Err(error) if reason(&error) == reason_given => reason_given,
        _ => "the user name, the password or an option that holds a secret is not written as it must be".to_owned(),
    }
}

fn cache(config: &Config, found: &mut Findings) {
    let cache = &config.cache;
    if !cache.enabled {
        return;
    }
    if cache.max_size.as_u64() == 0 {
        found.add(
            &["cache.max_size", "cache.enabled"],
            "may not be 0 while cache.enabled is true",
            "give it a size, or set cache.enabled = false",
        );
    } else if cache.max_entry > cache.max_size {
        found.add(
            &["cache.max_entry", "cache.max_size"],
            format!(
                "{} is more than cache.max_size, {}",
                cache.max_entry, cache.max_size
            ),
            "make cache.max_size larger or cache.max_entry smaller",
        );
    }
    if cache.max_entry.as_u64() == 0 {
        found.add(
            &["cache.max_entry", "cache.enabled"],
            "may not be 0 while cache.enabled is true",
            "give it a size, or set cache.enabled = false",
        );
    }
    if cache.max_lag < SHORTEST_MAX_LAG {
        found.add(
            &["cache.max_lag", "cache.enabled"],
            "is shorter than 100ms: the watch would rarely be known to be so near",
            "use \"100ms\" or longer; \"1s\" suits most",
        );
    }
    if !(0.0..=1.0).contains(&cache.shadow_share) {
        found.add(
            &["cache.shadow_share"],
            format!("{} is not a share", cache.shadow_share),
            "use a number from 0 (no hit is compared) to 1 (all are)",
        );
    }
    for (n, rule) in (1..).zip(&cache.rules) {
        if rule.cache.is_none() && rule.ttl.is_none() && rule.max_entry.is_none() {
            found.add(
                &["cache.rules"],
                format!("rule {n} ({}) changes nothing", rule.namespace),
                "give it cache = false, a ttl or a max_entry",
            );
        }
    }
    // Under watch too: it's what remains where there can't be one.
    if cache.external_writes != ExternalWrites::None && cache.ttl.is_zero() {
        found.add(
            &["cache.ttl", "cache.external_writes", "cache.enabled"],
            "may not be zero unless external_writes is \"none\": no entry would ever be served",
            "give it a time, set external_writes = \"none\" if all writes pass through this proxy, or set cache.enabled = false",
        );
    }
}

fn rules(config: &Config, found: &mut Findings) {
    let mut names: Vec<&str> = Vec::new();
    for (n, rule) in (1..).zip(&config.rewrite.rules) {
        let mut wrong = |what: &str, help: &str| {
            let what = format!("rule {n} ({}) {what}", rule.namespace);
            found.add(&["rewrite.rules"], what, help);
        };
        let changes = rule.hint.is_some()
            || rule.max_time.is_some()
            || rule.max_limit.is_some()
            || rule.read_preference.is_some();
        match &rule.deny {
            None if !changes => wrong(
                "changes nothing",
                "give it deny, hint, max_time, max_limit or read_preference",
            ),
            Some(_) if changes => wrong(
                "denies what it would change",
                "leave out deny, or hint, max_time, max_limit and read_preference",
            ),
            Some(text) if text.trim().is_empty() => {
                wrong("has an empty deny", "say why: clients are shown the text")
            }
            _ => {}
        }
        if rule.max_time.is_some_and(|limit| limit.as_millis() == 0) {
            wrong("has no max_time left", "use \"1ms\" or longer");
        }
        if rule.max_limit == Some(0) {
            wrong(
                "has a max_limit of 0",
                "use 1 or more; deny refuses the read",
            );
        }
        if rule.hint.as_ref().is_some_and(String::is_empty) {
            wrong("has an empty hint", "name an index, such as \"a_1\"");
        }
        if let Some(command) = rule.command {
            misplaced(rule, command, &mut wrong);
        }
        if let Some(name) = &rule.name {
            if names.contains(&name.as_str()) {
                wrong("has the name of a rule before it", "give each its own name");
            }
            names.push(name);
        }
    }
}

/// What a rule says that its command can't be given.
fn misplaced(rule: &UserRule, command: RuledCommand, wrong: &mut impl FnMut(&str, &str)) {
    use RuledCommand::{Aggregate, Count, Find, Insert};
    let name = command.as_str();
    if rule.hint.is_some() && !matches!(command, Find | Aggregate | Count) {
        let what = format!("gives {name} a hint");
        wrong(&what, "hints are for find, aggregate and count");
    }
    if rule.max_limit.is_some() && !matches!(command, Find | Aggregate) {
        let what = format!("gives {name} a max_limit");
        wrong(&what, "max_limit is for find and aggregate");
    }
    if rule.read_preference.is_some() && !command.reads() {
        let what = format!("gives {name} a read_preference");
        wrong(&what, "writes go to the primary");
    }
    if rule.filter.is_some() && command == Insert {
        wrong(
            "wants a filter of insert, which has none",
            "leave filter out",
        );
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

/// A document of the largest size that MongoDB accepts from clients, and 16 KiB for its command.
const SHORTEST_MESSAGE_LIMIT: u64 = 16 * 1024 * 1024 + 16 * 1024;
/// A message's length is an int32.
const LONGEST_MESSAGE_LIMIT: u64 = i32::MAX as u64;
/// `minHeartbeatFrequencyMS` of the server discovery and monitoring specification.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(500);
/// A round trip and the time between two polls of the primary must fit in.
const SHORTEST_MAX_LAG: Duration = Duration::from_millis(100);
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
