//! Logins: anybody can begin one, so that those that aren't ended cost others nothing, and those that fail are seen.

use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use mongodb::Client;
use mongodb::options::{ClientOptions, Credential};

use crate::parts::proxy::Proxy;
use crate::parts::shared::{self, ROOT};
use crate::parts::wait;
use crate::raw::RawClient;

/// A client that has begun to log in: SCRAM's first message, and the server's answer if there is one.
struct Half {
    client: RawClient,
    conversation: Option<Bson>,
}

fn first_message() -> Document {
    doc! {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": payload(b"n,,n=root,r=12345678"), "$db": "admin"}
}

fn payload(bytes: &[u8]) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    }
}

impl Half {
    async fn begin(proxy: &Proxy) -> Half {
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        let reply = client.command(&first_message()).await.unwrap();
        let reply = Document::try_from(&*reply).unwrap();
        assert_eq!(reply.get_f64("ok").ok(), Some(1.0), "{reply}");
        Half {
            client,
            conversation: reply.get("conversationId").cloned(),
        }
    }

    async fn go_on(&mut self) -> Document {
        let next = doc! {"saslContinue": 1, "conversationId": self.conversation.clone(),
        "payload": payload(b"c=biws,r=wrong,p=AAAA"), "$db": "admin"};
        let reply = self.client.command(&next).await.unwrap();
        Document::try_from(&*reply).unwrap()
    }
}

async fn log_in(proxy: &Proxy, password: &str) -> mongodb::error::Result<Document> {
    let mut options = ClientOptions::parse(proxy.uri()).await.unwrap();
    options.credential = Some(
        Credential::builder()
            .username(ROOT.0.to_owned())
            .password(password.to_owned())
            .build(),
    );
    let client = Client::with_options(options).unwrap();
    client.database("admin").run_command(doc! {"ping": 1}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_are_begun_and_not_ended_hold_few_links_and_leave_turns_to_others() {
    const LINKS: u64 = 4;
    let sets = [("upstream.max_login_links", "4")];
    let proxy = Proxy::start(&shared::auth().await.seed_uri(), &sets);
    let mut half = Vec::new();
    for _ in 0..20 {
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        let sections = [crate::raw::Section::Body(crate::raw::encode(
            &first_message(),
        ))];
        client.send(0, &sections).await.unwrap();
        half.push(client);
    }
    let links = || proxy.count("/pool/login_links");
    wait::until("all turns are taken", || links() == LINKS);
    log_in(&proxy, ROOT.1).await.unwrap();
    assert!(links() <= LINKS);
    drop(half);
    wait::until("nothing is left of them", || {
        links() == 0 && proxy.count("/pool/logins_waiting") == 0
    });
    log_in(&proxy, ROOT.1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_not_done_in_time_ends_and_says_why() {
    let sets = [("server.login_timeout", "1s")];
    let proxy = Proxy::start(&shared::auth().await.seed_uri(), &sets);
    let mut half = Half::begin(&proxy).await;
    wait::until("it is ended", || proxy.count("/pool/login_links") == 0);
    let refused = half.go_on().await;
    let text = refused.get_str("errmsg").unwrap();
    assert!(text.contains("server.login_timeout"), "{refused}");
    assert!(proxy.count("/clients/complaints/login_refused") >= 1);
    // The connection is as good as before.
    let again = half.client.command(&first_message()).await.unwrap();
    assert_eq!(again.get_f64("ok").unwrap(), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_logins_are_counted_and_logged_with_the_clients_address() {
    let proxy = Proxy::start(&shared::auth().await.seed_uri(), &[]);
    for _ in 0..3 {
        log_in(&proxy, "wrong").await.unwrap_err();
    }
    let mut half = Half::begin(&proxy).await;
    let refused = half.go_on().await;
    assert_eq!(refused.get_f64("ok").ok(), Some(0.0), "{refused}");
    assert!(proxy.count("/clients/complaints/login_failed") >= 4);
    let log = proxy.log();
    let lines: Vec<&str> = log.lines().filter(|l| l.contains("login_failed")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("address=127.0.0.1:"), "{log}");
    assert!(lines[0].contains("Authentication failed"), "{log}");
}
