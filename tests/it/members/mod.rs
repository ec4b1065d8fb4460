//! A replica set of three, one of whose members is slow, or fits better than the others: counted at
//! each of them is what came there. The set is these tests' own, since failpoints are a whole server's.

mod preference;
mod slow;

use bson::{Document, doc};
use petiole::embedded::{Deployment, MongodOptions};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::parts::asker::Asker;
use crate::parts::wait::PATIENCE;

/// The set, for one test at a time.
struct Set {
    deployment: &'static Deployment,
    _turn: MutexGuard<'static, ()>,
}

impl Set {
    async fn new() -> Set {
        static SET: OnceCell<Deployment> = OnceCell::const_new();
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let start = || async {
            let options = MongodOptions::replica_set(3).set_parameter("enableTestCommands", "1");
            Deployment::start(options).await.unwrap()
        };
        let deployment = SET.get_or_init(start).await;
        Set {
            deployment,
            _turn: turn,
        }
    }

    /// The primary, and the secondaries.
    async fn roles(&self) -> (usize, [usize; 2]) {
        let primary = self.deployment.wait_for_primary(PATIENCE).await.unwrap();
        (primary, [(primary + 1) % 3, (primary + 2) % 3])
    }

    async fn member(&self, index: usize) -> Asker {
        Asker::connect(&self.deployment.addresses()[index]).await
    }

    /// Documents that all members have.
    async fn fill(&self, db: &str, collection: &str) {
        let (primary, _) = self.roles().await;
        let insert = doc! {"insert": collection, "documents": [{"_id": 1}], "writeConcern": {"w": 3}, "$db": db};
        self.member(primary).await.ask(&insert).await;
    }

    /// Makes reads and updates (of one namespace) take so much longer at one member. Returns how many
    /// have been slow there so far: the failpoint's own count, which has nothing of mongod's own work.
    async fn slow_down(&self, index: usize, namespace: Option<&str>, millis: i32) -> i64 {
        let mut data = doc! {
            "failCommands": ["find", "update"], "blockConnection": true, "blockTimeMS": millis,
        };
        if let Some(namespace) = namespace {
            data.insert("namespace", namespace);
        }
        self.failpoint(index, doc! {"mode": "alwaysOn", "data": data})
            .await
    }

    /// Makes a member as quick as it was. Returns how many commands have been slow so far.
    async fn recover(&self, index: usize) -> i64 {
        self.failpoint(index, doc! {"mode": "off"}).await
    }

    async fn failpoint(&self, index: usize, how: Document) -> i64 {
        let mut set = doc! {"configureFailPoint": "failCommand"};
        set.extend(how);
        set.insert("$db", "admin");
        let reply = self.member(index).await.ask(&set).await.reply;
        reply
            .get_i32("count")
            .map(i64::from)
            .or_else(|_| reply.get_i64("count"))
            .unwrap_or(0)
    }
}
