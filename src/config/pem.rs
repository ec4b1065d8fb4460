//! PEM files named in the configuration: read here both to check them and to use them.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a PEM file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The file can't be read, or its PEM is broken.
    #[error("{path} can't be read: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: pem::Error,
    },
    /// The file holds no certificate.
    #[error("{path} holds no certificate (a \"BEGIN CERTIFICATE\" block)", path = .0.display())]
    NoCertificate(PathBuf),
    /// The file holds no private key.
    #[error("{path} holds no private key (a \"BEGIN PRIVATE KEY\" block)", path = .0.display())]
    NoKey(PathBuf),
}

/// All certificates of a file, in its order; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let read = |error| PemError::Read {
        path: path.to_owned(),
        error,
    };
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(read)?.collect();
    match all {
        Ok(all) if all.is_empty() => Err(PemError::NoCertificate(path.to_owned())),
        Ok(all) => Ok(all),
        Err(error) => Err(read(error)),
    }
}

/// The first private key of a file (PKCS#8, PKCS#1 or SEC1, not encrypted).
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => PemError::NoKey(path.to_owned()),
        error => PemError::Read {
            path: path.to_owned(),
            error,
        },
    })
}
