//! TLS towards clients.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::config;
use crate::upstream::{TlsError, read_certificates, read_key, read_roots};

/// What accepts TLS, if it is on.
pub(super) fn acceptor(config: &config::ServerTls) -> Result<Option<TlsAcceptor>, TlsError> {
    if config.mode == config::ServerTlsMode::Off {
        return Ok(None);
    }
    let (Some(certificate), Some(key)) = (
        config.certificate.as_deref(),
        config.key.as_deref().or(config.certificate.as_deref()),
    ) else {
        return Err(TlsError::File {
            path: "server.tls.certificate".to_owned(),
            reason: "needed when server.tls.mode is \"on\"".to_owned(),
        });
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &config.client_ca {
        Some(path) => {
            let roots = Arc::new(read_roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if config.require_client_certificate {
                verifier
            } else {
                verifier.allow_unauthenticated()
            };
            let verifier = verifier.build().map_err(|e| TlsError::File {
                path: path.display().to_string(),
                reason: e.to_string(),
            })?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let server = builder.with_single_cert(read_certificates(certificate)?, read_key(key)?)?;
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}
