//! Certificates and keys: they are read, and must fit each other.

use std::path::Path;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;

use super::Findings;
use crate::config::{Config, ServerTlsMode, UpstreamTlsMode, pem};

pub(super) fn server(config: &Config, found: &mut Findings) {
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

pub(super) fn upstream(config: &Config, found: &mut Findings) {
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
