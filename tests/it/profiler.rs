//! A client that has switched the server's profiler on finds each of its operations in `system.profile`, as it sent it.

use bson::{Bson, Document, doc};

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::shared;

struct Place {
    proxy: Proxy,
    asker: Asker,
    direct: Asker,
    db: String,
}

impl Place {
    async fn new() -> Place {
        let server = shared::rs().await;
        let settings = [
            ("cache.external_writes", "\"none\""),
            ("cache.shadow_share", "0.0"),
            // Whatever can be batched is, also where a test has few clients.
            ("batch.at_once", "1"),
        ];
        let proxy = Proxy::start(&server.seed_uri(), &settings);
        let mut place = Place {
            asker: Asker::connect(proxy.address()).await,
            direct: Asker::connect(&server.addresses()[0]).await,
            proxy,
            db: shared::database("profiler"),
        };
        let documents: Vec<Document> = (0..20).map(|n| doc! {"_id": n, "a": n % 4}).collect();
        place
            .ask(doc! {"insert": "c", "documents": documents})
            .await;
        place
    }

    fn on_db(&self, mut command: Document) -> Document {
        command.insert("$db", &self.db);
        command
    }

    /// Whether a command was answered from memory. It succeeds.
    async fn ask(&mut self, command: Document) -> bool {
        self.asker.ask(&self.on_db(command)).await.hit
    }

    /// What the server has recorded of commands with this field, each as the server had it.
    async fn recorded(&mut self, field: &str) -> Vec<Document> {
        let filter =
            doc! {"ns": format!("{}.c", self.db), format!("command.{field}"): {"$exists": true}};
        let command =
            self.on_db(doc! {"find": "system.profile", "filter": filter, "batchSize": 1000});
        let reply = self.direct.reply(&command).await;
        let cursor = reply.get_document("cursor").expect("a cursor");
        let recorded = cursor.get_array("firstBatch").expect("a batch");
        let commands = recorded.iter().filter_map(Bson::as_document);
        commands
            .map(|one| one.get_document("command").expect("a command").clone())
            .collect()
    }
}

fn find() -> Document {
    doc! {"find": "c", "filter": {"$and": [{"a": {"$in": [1]}}]}}
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_is_recorded_as_it_was_sent_and_memory_serves_again_afterwards() {
    let mut place = Place::new().await;
    place.ask(find()).await;
    assert!(place.ask(find()).await, "without a profiler it is kept");
    place.ask(doc! {"profile": 2}).await;
    for _ in 0..4 {
        assert!(!place.ask(find()).await);
    }
    for _ in 0..3 {
        let count = doc! {"count": "c", "query": {"a": {"$eq": 1}}};
        assert!(!place.ask(count).await);
    }
    let finds = place.recorded("find").await;
    let sent = find().get_document("filter").unwrap().clone();
    assert_eq!(finds.len(), 4);
    assert!(
        finds
            .iter()
            .all(|f| f.get_document("filter").ok() == Some(&sent)),
        "{finds:?}"
    );
    assert_eq!(place.recorded("count").await.len(), 3);
    assert_eq!(place.proxy.count("/cache/bypass_reasons/profiler"), 7);
    // (In another database nothing is different.)
    let other = format!("{}_other", place.db);
    let elsewhere = doc! {"find": "c", "filter": {"a": 1}, "$db": &other};
    place
        .asker
        .ask(&doc! {"insert": "c", "documents": [{"a": 1}], "$db": &other})
        .await;
    place.asker.ask(&elsewhere).await;
    assert!(place.asker.ask(&elsewhere).await.hit);
    place.ask(doc! {"profile": 0}).await;
    assert!(place.ask(find()).await, "what is in memory still holds");
    assert_eq!(place.recorded("find").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profiler_of_slow_operations_changes_nothing() {
    let mut place = Place::new().await;
    place.ask(doc! {"profile": 1, "slowms": 100}).await;
    place.ask(find()).await;
    assert!(place.ask(find()).await);
    place
        .ask(doc! {"profile": 2, "filter": {"millis": {"$gte": 100}}})
        .await;
    assert!(place.ask(find()).await);
    place
        .ask(doc! {"profile": 2, "filter": {"op": "query"}})
        .await;
    assert!(!place.ask(find()).await);
    // (A question tells it as well.)
    let direct = place.on_db(doc! {"profile": 0, "filter": "unset"});
    place.direct.reply(&direct).await;
    place.ask(doc! {"profile": -1}).await;
    assert!(place.ask(find()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_is_recorded_by_itself() {
    const CLIENTS: i32 = 24;
    const ROUNDS: i32 = 10;
    let mut place = Place::new().await;
    let write = async |place: &Place, first: i32| {
        let address = place.proxy.address().to_owned();
        let clients = (0..CLIENTS).map(|client| {
            let (address, db) = (address.clone(), place.db.clone());
            tokio::spawn(async move {
                let mut asker = Asker::connect(&address).await;
                for round in 0..ROUNDS {
                    let document = doc! {"_id": first + client * ROUNDS + round};
                    let insert = doc! {"insert": "c", "documents": [document], "$db": &db};
                    asker.ask(&insert).await;
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    };
    place.ask(doc! {"profile": 2}).await;
    write(&place, 1000).await;
    let recorded = place.recorded("insert").await;
    place.ask(doc! {"profile": 0}).await;
    assert_eq!(recorded.len(), usize::try_from(CLIENTS * ROUNDS).unwrap());
    let alone = place.proxy.count("/batch/sent_alone/profiler");
    assert_eq!(alone, u64::try_from(CLIENTS * ROUNDS).unwrap());
    // The same clients' writes are merged where nobody records them.
    write(&place, 5000).await;
    assert!(place.proxy.count("/batch/kinds/insert/batched") > 0);
}
