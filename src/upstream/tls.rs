//! TLS towards servers, and PEM files for both sides.

use std::path::Path;
use std::sync::Arc;

use mongodb::options::TlsOptions;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::link::LinkError;
use super::sock::Sock;
use crate::config;

/// A TLS file or setting that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file.
    #[error("{path}: {reason}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Everything else that rustls refuses.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Makes TLS sessions with servers.
pub(super) struct Connector {
    connector: TlsConnector,
    server_name: Option<String>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// From `[upstream.tls]`, with what it leaves open taken from the connection string.
    pub fn new(
        config: &config::UpstreamTls,
        uri: Option<&TlsOptions>,
    ) -> Result<Connector, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let ca = config
            .ca
            .as_deref()
            .or(uri.and_then(|u| u.ca_file_path.as_deref()));
        let lax = config.allow_invalid_certificates
            || uri.is_some_and(|u| u.allow_invalid_certificates == Some(true));
        let builder = if lax {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            let mut roots = RootCertStore::empty();
            match ca {
                Some(path) => roots = read_roots(path)?,
                None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            }
            builder.with_root_certificates(roots)
        };
        let combined = uri.and_then(|u| u.cert_key_file_path.as_deref());
        let certificate = config.certificate.as_deref().or(combined);
        let key = config
            .key
            .as_deref()
            .or(config.certificate.as_deref())
            .or(combined);
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                builder.with_client_auth_cert(read_certificates(certificate)?, read_key(key)?)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Connector {
            connector: TlsConnector::from(Arc::new(client)),
            server_name: config.server_name.clone(),
        })
    }

    pub async fn connect(&self, host: &str, tcp: TcpStream) -> Result<Sock, LinkError> {
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
        let tls = self.connector.connect(name, tcp).await?;
        Ok(Sock::Tls(Box::new(TlsStream::Client(tls))))
    }
}

/// The certificates in a PEM file; at least one.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|e| file(path, e))?;
    let certificates = read
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| file(path, e))?;
    if certificates.is_empty() {
        return Err(file(path, "no certificate in this PEM file"));
    }
    Ok(certificates)
}

/// The private key in a PEM file.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| file(path, e))
}

/// The authorities in a PEM file.
pub fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn file(path: &Path, reason: impl std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

/// `allow_invalid_certificates`: for tests and for those who ask for it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
