//! mongod's arguments.

use std::ffi::OsString;
use std::path::Path;

use super::MongodOptions;

/// What one member's mongod is started with. `dir` is its own; `key_file` is shared.
pub(super) fn arguments(
    options: &MongodOptions,
    port: u16,
    dir: &Path,
    log: &Path,
    key_file: Option<&Path>,
) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |name: &str, value: OsString| {
        args.push(format!("--{name}").into());
        if !value.is_empty() {
            args.push(value);
        }
    };
    add("bind_ip", "127.0.0.1".into());
    add("port", port.to_string().into());
    add("dbpath", dir.join("data").into());
    add("logpath", log.into());
    add("logappend", OsString::new());
    add("nounixsocket", OsString::new());
    add(
        "wiredTigerCacheSizeGB",
        options.wired_tiger_cache_gb.to_string().into(),
    );
    // It would write metrics to disk every second, for a support engineer who will never come.
    add(
        "setParameter",
        "diagnosticDataCollectionEnabled=false".into(),
    );
    if let Some(name) = options.set_name() {
        add("replSet", name.into());
        add("oplogSize", OPLOG_MB.into());
    }
    match key_file {
        Some(key_file) => add("keyFile", key_file.into()),
        None if options.auth.is_some() => add("auth", OsString::new()),
        None => {}
    }
    if let Some(tls) = &options.tls {
        add("tlsMode", "requireTLS".into());
        add("tlsCertificateKeyFile", tls.certificate_key.clone().into());
        add("tlsCAFile", tls.ca.clone().into());
        if !tls.require_client_certificate {
            add("tlsAllowConnectionsWithoutCertificates", OsString::new());
        }
    }
    for (name, value) in &options.set_parameters {
        add("setParameter", format!("{name}={value}").into());
    }
    args.extend(options.extra_args.iter().map(OsString::from));
    args
}

/// Enough for change streams in tests; the default would be 5% of the disk.
const OPLOG_MB: &str = "512";
