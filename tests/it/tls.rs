//! TLS on both sides.

use bson::doc;
use mongodb::Client;
use mongodb::options::{ClientOptions, Tls, TlsOptions};
use petiole::embedded::{Deployment, MongodOptions, TlsFiles};

use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::parts::tls::Certificates;

fn quoted(path: &std::path::Path) -> String {
    format!("\"{}\"", path.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_may_speak_tls_and_plain_clients_are_not_served_then() {
    let certificates = Certificates::new();
    let (certificate, key) = certificates.server_parts();
    let settings = [
        ("server.tls.mode", "\"on\"".to_owned()),
        ("server.tls.certificate", quoted(&certificate)),
        ("server.tls.key", quoted(&key)),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &settings);
    let mut options = ClientOptions::parse(proxy.uri()).await.unwrap();
    options.tls = Some(Tls::Enabled(
        TlsOptions::builder()
            .ca_file_path(certificates.ca())
            .build(),
    ));
    let client = Client::with_options(options).unwrap();
    client
        .database("d")
        .run_command(doc! {"ping": 1})
        .await
        .unwrap();
    let mut plain = ClientOptions::parse(proxy.uri()).await.unwrap();
    plain.server_selection_timeout = Some(std::time::Duration::from_millis(500));
    let plain = Client::with_options(plain).unwrap();
    assert!(
        plain
            .database("d")
            .run_command(doc! {"ping": 1})
            .await
            .is_err()
    );
    assert!(proxy.count("/clients/complaints/tls_failed") >= 1);
    let log = proxy.log();
    let line = log
        .lines()
        .find(|line| line.contains("kind=\"tls_failed\""));
    assert!(
        line.is_some_and(|line| line.contains("address=127.0.0.1:")),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_can_be_required() {
    let certificates = Certificates::new();
    let (certificate, key) = certificates.server_parts();
    let settings = [
        ("server.tls.mode", "\"on\"".to_owned()),
        ("server.tls.certificate", quoted(&certificate)),
        ("server.tls.key", quoted(&key)),
        ("server.tls.client_ca", quoted(&certificates.ca())),
        ("server.tls.require_client_certificate", "true".to_owned()),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &settings);
    let connect = async |certificate: Option<std::path::PathBuf>| {
        let mut options = ClientOptions::parse(proxy.uri()).await.unwrap();
        options.server_selection_timeout = Some(std::time::Duration::from_secs(2));
        let mut tls = TlsOptions::builder()
            .ca_file_path(certificates.ca())
            .build();
        tls.cert_key_file_path = certificate;
        options.tls = Some(Tls::Enabled(tls));
        Client::with_options(options)
            .unwrap()
            .database("d")
            .run_command(doc! {"ping": 1})
            .await
    };
    connect(Some(certificates.client())).await.unwrap();
    assert!(connect(None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_may_want_tls_and_a_wrong_authority_is_refused() {
    let certificates = Certificates::new();
    let options = MongodOptions {
        tls: Some(TlsFiles {
            certificate_key: certificates.server(),
            ca: certificates.ca(),
            require_client_certificate: false,
        }),
        ..MongodOptions::default()
    };
    let deployment = Deployment::start(options).await.unwrap();
    let uri = format!("mongodb://{}/?tls=true", deployment.addresses().join(","));
    let ca = quoted(&certificates.ca());
    let proxy = Proxy::start(&uri, &[("upstream.tls.ca", &ca)]);
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    client
        .database("d")
        .run_command(doc! {"ping": 1})
        .await
        .unwrap();
    let others = Certificates::new();
    let ca = quoted(&others.ca());
    let settings = [
        ("upstream.tls.ca", ca.as_str()),
        ("upstream.failover_wait", "\"300ms\""),
    ];
    let distrusting = Proxy::start(&uri, &settings);
    let client = Client::with_uri_str(format!(
        "{}?serverSelectionTimeoutMS=1000",
        distrusting.uri()
    ))
    .await
    .unwrap();
    assert!(
        client
            .database("d")
            .run_command(doc! {"ping": 1})
            .await
            .is_err()
    );
    assert!(
        distrusting.log().contains("certificate"),
        "{}",
        distrusting.log()
    );
}
