//! The driver client for side work (the watch, explain): the connection string's servers and
//! credentials, and `[upstream.tls]`.

use std::path::PathBuf;
use std::time::Duration;

use mongodb::Client;
use mongodb::options::{ClientOptions, ReadPreference, SelectionCriteria, Tls, TlsOptions};

use crate::config::{Upstream, UpstreamTlsMode};

/// A client with its own few links; it connects when it's used. The error says what to change.
pub(super) async fn connect(config: &Upstream, name: &str, links: u32) -> Result<Client, String> {
    let mut options = ClientOptions::parse(config.uri.expose())
        .await
        .map_err(|error| error.to_string())?;
    options.app_name = Some(name.to_owned());
    options.connect_timeout = Some(config.connect_timeout);
    options.server_selection_timeout = Some(SELECTION);
    options.max_pool_size = Some(links);
    options.min_pool_size = None;
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = None;
    options.tls = tls(config, options.tls.take())?;
    Client::with_options(options).map_err(|error| error.to_string())
}

/// As in [`super::tls`], as far as the driver can.
fn tls(config: &Upstream, uri: Option<Tls>) -> Result<Option<Tls>, String> {
    let wanted = &config.tls;
    let uri = match uri {
        Some(Tls::Enabled(tls)) => Some(tls),
        _ => None,
    };
    match wanted.mode {
        UpstreamTlsMode::Off => return Ok(Some(Tls::Disabled)),
        UpstreamTlsMode::Auto if uri.is_none() => return Ok(None),
        UpstreamTlsMode::Auto | UpstreamTlsMode::On => {}
    }
    if wanted.server_name.is_some() {
        return Err("upstream.tls.server_name is set, which the driver for side work (the watch) doesn't know; use host names that the certificates carry".to_owned());
    }
    if wanted.key.is_some() && wanted.key != wanted.certificate {
        return Err("upstream.tls.key is a file of its own; the driver for side work wants certificate and key in one file".to_owned());
    }
    let mut tls: TlsOptions = uri.unwrap_or_default();
    let or = |ours: &Option<PathBuf>, uri: Option<PathBuf>| ours.clone().or(uri);
    tls.ca_file_path = or(&wanted.ca, tls.ca_file_path.take());
    tls.cert_key_file_path = or(&wanted.certificate, tls.cert_key_file_path.take());
    if wanted.allow_invalid_certificates {
        tls.allow_invalid_certificates = Some(true);
    }
    Ok(Some(Tls::Enabled(tls)))
}

/// How long one attempt to find the primary may take.
const SELECTION: Duration = Duration::from_secs(5);
