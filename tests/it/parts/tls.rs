//! Certificates made for one test: an authority, a server's and a client's.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

/// PEM files in a directory that lives as long as this.
#[derive(Debug)]
pub struct Certificates {
    dir: TempDir,
}

impl Certificates {
    /// Makes all of them; the server's is for 127.0.0.1, ::1 and localhost, and, since members of
    /// a replica set call each other, for a client too.
    pub fn new() -> Certificates {
        let certificates = Certificates {
            dir: tempfile::tempdir().unwrap(),
        };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "Petiole test authority");
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        fs::write(certificates.ca(), ca.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        certificates.leaf(&issuer, "server", ExtendedKeyUsagePurpose::ServerAuth);
        certificates.leaf(&issuer, "client", ExtendedKeyUsagePurpose::ClientAuth);
        certificates
    }

    fn leaf(&self, issuer: &Issuer<'_, KeyPair>, name: &str, purpose: ExtendedKeyUsagePurpose) {
        let names = ["127.0.0.1", "::1", "localhost"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Petiole tests");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose, ExtendedKeyUsagePurpose::ClientAuth];
        params.extended_key_usages.dedup();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let path = |suffix| self.dir.path().join(format!("{name}{suffix}.pem"));
        fs::write(path("-certificate"), certificate.pem()).unwrap();
        fs::write(path("-key"), key.serialize_pem()).unwrap();
        fs::write(path(""), certificate.pem() + &key.serialize_pem()).unwrap();
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The server's certificate followed by its key, as mongod wants it.
    pub fn server(&self) -> PathBuf {
        self.dir.path().join("server.pem")
    }

    /// The server's certificate and its key in files of their own.
    pub fn server_parts(&self) -> (PathBuf, PathBuf) {
        self.parts("server")
    }

    /// A client's certificate followed by its key.
    pub fn client(&self) -> PathBuf {
        self.dir.path().join("client.pem")
    }

    /// A client's certificate and its key in files of their own.
    pub fn client_parts(&self) -> (PathBuf, PathBuf) {
        self.parts("client")
    }

    fn parts(&self, name: &str) -> (PathBuf, PathBuf) {
        let path = |suffix| self.dir.path().join(format!("{name}-{suffix}.pem"));
        (path("certificate"), path("key"))
    }
}
