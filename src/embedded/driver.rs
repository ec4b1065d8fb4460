//! Driver connections of this module's own: to one member each, for a few commands.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::Document;
use mongodb::error::Result;
use mongodb::options::{ClientOptions, Credential, ServerAddress, Tls, TlsOptions};

use super::MongodOptions;

/// How long one command may take that should be answered at once. A stopped member (SIGSTOP)
/// accepts connections and then says nothing.
pub(super) const ANSWER: Duration = Duration::from_secs(3);

/// Connects to the member on this port. `root` logs in as the root user, if there is one.
pub(super) fn connect(options: &MongodOptions, port: u16, root: bool) -> Result<Client> {
    let mut client = ClientOptions::default();
    client.hosts = vec![ServerAddress::Tcp {
        host: "127.0.0.1".to_owned(),
        port: Some(port),
    }];
    client.direct_connection = Some(true);
    client.app_name = Some("petiole-embedded".to_owned());
    client.connect_timeout = Some(ANSWER);
    client.server_selection_timeout = Some(ANSWER);
    if let Some(tls) = &options.tls {
        let mut files = TlsOptions::default();
        files.ca_file_path = Some(tls.ca.clone());
        if tls.require_client_certificate {
            files.cert_key_file_path = Some(tls.certificate_key.clone());
        }
        client.tls = Some(Tls::Enabled(files));
    }
    if let (Some((user, password)), true) = (&options.auth, root) {
        let mut credential = Credential::default();
        credential.username = Some(user.clone());
        credential.password = Some(password.clone());
        credential.source = Some("admin".to_owned());
        client.credential = Some(credential);
    }
    Client::with_options(client)
}

/// Runs one command on `admin`, bounded by [`ANSWER`].
pub(super) async fn run(client: &Client, command: Document) -> Result<Document> {
    let admin = client.database("admin");
    match tokio::time::timeout(ANSWER, admin.run_command(command)).await {
        Ok(result) => result,
        Err(_) => Err(mongodb::error::Error::custom("no answer in time")),
    }
}
