//! What the proxy sends again, and how often, counted at the server: by its own count of how often a
//! failpoint was met, and by what has become of the data. Links that break are made by the faults of
//! `test-hooks`, in a proxy of the test's own process.

mod codes;
mod crowds;
mod links;

use bson::{Document, doc};
use petiole::embedded::{Deployment, MongodOptions};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::parts::proxy::Proxy;
use crate::raw::RawClient;

/// One connection, and replies as documents.
struct Asker(RawClient);

impl Asker {
    async fn connect(address: &str) -> Asker {
        Asker(RawClient::connect(address).await.unwrap())
    }

    async fn ask(&mut self, command: &Document) -> Document {
        let reply = self.0.command(command).await.unwrap();
        Document::try_from(&*reply).unwrap()
    }
}

/// A server of these tests' own, since failpoints are the whole server's; one test at a time.
struct Place {
    through: Asker,
    direct: Asker,
    /// The server's.
    address: String,
    proxy: Proxy,
    _turn: MutexGuard<'static, ()>,
}

impl Place {
    async fn new() -> Place {
        static SERVER: OnceCell<Deployment> = OnceCell::const_new();
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let start = || async {
            let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
            Deployment::start(options).await.unwrap()
        };
        let server = SERVER.get_or_init(start).await;
        let settings = [
            ("cache.enabled", "false"),
            ("batch.enabled", "false"),
            ("advice.enabled", "false"),
            ("retry.base_backoff", "\"5ms\""),
            // The codes are looked at.
            ("server.lost_upstream", "\"error\""),
            // Most of what is asked here fails.
            ("retry.budget_share", "1.0"),
        ];
        let proxy = Proxy::start(&server.seed_uri(), &settings);
        let address = server.addresses().remove(0);
        Place {
            through: Asker::connect(proxy.address()).await,
            direct: Asker::connect(&address).await,
            address,
            proxy,
            _turn: turn,
        }
    }

    /// Makes commands fail `times`; `None`: until [`Place::recover`].
    async fn fail(&mut self, commands: &[&str], times: Option<i32>, how: Document) {
        let mut data = doc! {"failCommands": commands.to_vec()};
        data.extend(how);
        let mode = match times {
            Some(times) => bson::bson!({"times": times}),
            None => "alwaysOn".into(),
        };
        self.failpoint(mode, data).await;
    }

    /// Ends the failures. How often there was one since the last call is the server's own count.
    async fn recover(&mut self) {
        self.failpoint("off".into(), doc! {}).await;
    }

    async fn failpoint(&mut self, mode: bson::Bson, data: Document) -> i64 {
        let mut set = doc! {"configureFailPoint": "failCommand", "mode": mode, "$db": "admin"};
        if !data.is_empty() {
            set.insert("data", data);
        }
        let reply = self.direct.ask(&set).await;
        assert_eq!(reply.get_f64("ok").ok(), Some(1.0), "{reply}");
        reply
            .get_i32("count")
            .map(i64::from)
            .or_else(|_| reply.get_i64("count"))
            .unwrap_or(0)
    }

    /// The reply to `command` while every try fails like `how`, and how many tries the server met.
    async fn tries(&mut self, command: &Document, how: Document) -> (Document, i64) {
        let before = self.failpoint("off".into(), doc! {}).await;
        let name = command.keys().next().unwrap().clone();
        self.fail(&[&name], None, how).await;
        let reply = self.through.ask(command).await;
        let after = self.failpoint("off".into(), doc! {}).await;
        (reply, after - before)
    }
}

fn is_ok(reply: &Document) -> bool {
    reply.get_f64("ok").ok() == Some(1.0)
}

fn labels(reply: &Document) -> Vec<String> {
    let labels = reply.get_array("errorLabels").cloned().unwrap_or_default();
    labels
        .iter()
        .filter_map(|l| l.as_str().map(str::to_owned))
        .collect()
}
