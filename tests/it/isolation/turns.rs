//! Messages that come one behind the other, and messages that want no reply.

use std::sync::{Arc, Mutex, mpsc};

use bson::doc;
use petiole::config::{Config, HostPort, UpstreamUri};
use petiole::pipeline::Request;
use petiole::server::{Clients, Console, Shared};
use petiole::wire::build::DocBuf;

use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::raw::{RawClient, Section, encode};

/// Answers the commands of this test by itself, and notes their order. The first one stands still until it is let go.
struct Order {
    still: Mutex<mpsc::Receiver<()>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Console for Order {
    fn answer(&self, _: &Shared, request: &Request) -> Option<Vec<u8>> {
        let name = request.command.name().to_owned();
        if name == "first" {
            let _ = self.still.lock().unwrap().recv();
        }
        self.seen.lock().unwrap().push(name);
        let mut reply = DocBuf::new();
        reply.append_f64("ok", 1.0);
        Some(reply.finish())
    }

    fn amend(&self, _: &Request, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_without_a_pause_leaves_turns_to_others() {
    let (go_on, still) = mpsc::channel();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut config = Config::default();
    config.server.listen = HostPort::new("127.0.0.1", 0);
    config.server.threads = 1;
    config.upstream.uri = UpstreamUri::new(shared::standalone().await.uri());
    let console = Order {
        still: Mutex::new(still),
        seen: Arc::clone(&seen),
    };
    let clients = Clients::start(config, Some(Arc::new(console)))
        .await
        .unwrap();
    let address = clients.address.to_string();
    let mut greedy = RawClient::connect(&address).await.unwrap();
    let mut other = RawClient::connect(&address).await.unwrap();
    let command = |name: &str| Section::Body(encode(&doc! {name: 1, "$db": "game"}));
    other.roundtrip(0, &[command("before")]).await.unwrap();
    greedy.send(0, &[command("first")]).await.unwrap();
    for _ in 0..MANY {
        greedy.send(0, &[command("more")]).await.unwrap();
    }
    other.send(0, &[command("other")]).await.unwrap();
    go_on.send(()).unwrap();
    other.receive().await.unwrap();
    let at = seen.lock().unwrap().iter().position(|name| name == "other");
    assert!(at.is_some_and(|at| at < FEW), "{at:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_or_login_that_wants_no_reply_gets_none() {
    let proxy = Proxy::start(&shared::auth().await.seed_uri(), &[]);
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    let payload = bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: b"n,,n=nobody,r=abc".to_vec(),
    };
    let begin =
        doc! {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": payload, "$db": "admin"};
    let logout = doc! {"logout": 1, "$db": "admin"};
    for silent in [doc! {"hello": 1, "$db": "admin"}, begin, logout] {
        let body = Section::Body(encode(&silent));
        client.send(MORE_TO_COME, &[body]).await.unwrap();
        // (The raw client checks which request a reply answers.)
        client
            .command(&doc! {"ping": 1, "$db": "admin"})
            .await
            .unwrap();
    }
}

const MANY: usize = 3_000;
/// Some turns of eight messages, and less than a task's budget of 128.
const FEW: usize = 48;
const MORE_TO_COME: u32 = 2;
