//! The virtual database `petiole`, asked by a driver and by mongosh.

use std::process::Stdio;

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::Client;
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, Credential};

use crate::parts::node;
use crate::parts::proxy::Proxy;
use crate::parts::shared::{self, ROOT};

const ON: [(&str, &str); 1] = [("admin.console", "[\"anyone\"]")];
const COLLECTIONS: [&str; 6] = ["advice", "clients", "servers", "shapes", "slow", "status"];

async fn client(proxy: &Proxy) -> Client {
    let uri = format!("{}?appName=console-test", proxy.uri());
    Client::with_uri_str(uri).await.expect("a client")
}

/// Code and message of an error reply.
fn refusal(error: &mongodb::error::Error) -> (i32, String) {
    match error.kind.as_ref() {
        ErrorKind::Command(e) => (e.code, e.message.clone()),
        other => panic!("not a reply: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_reads_what_the_proxy_knows_of_itself() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &ON);
    let client = client(&proxy).await;
    let shop = client.database(&shared::database("console"));
    let things = shop.collection::<Document>("things");
    for id in 0..3 {
        things.insert_one(doc! {"_id": id}).await.unwrap();
        things.find_one(doc! {"_id": id}).await.unwrap();
    }
    let petiole = client.database("petiole");
    let mut names = petiole.list_collection_names().await.unwrap();
    names.sort();
    assert_eq!(names, COLLECTIONS);
    let databases = client.list_database_names().await.unwrap();
    assert!(databases.contains(&"petiole".to_owned()), "{databases:?}");

    let status = petiole.collection::<Document>("status");
    let status = status.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(
        status.get_str("version").unwrap(),
        env!("CARGO_PKG_VERSION")
    );
    let servers = petiole.collection::<Document>("servers");
    let primary = servers.find_one(doc! {"role": "primary"}).await.unwrap();
    assert!(primary.unwrap().get("rtt_us").is_some());
    let clients = petiole.collection::<Document>("clients");
    let me = doc! {"application": "console-test", "requests": {"$gt": 3}};
    let me = clients
        .find_one(me)
        .sort(doc! {"requests": -1})
        .await
        .unwrap()
        .unwrap();
    assert!(me.get_datetime("since").is_ok(), "{me}");
    let shapes = petiole.collection::<Document>("shapes");
    let mine = doc! {"namespace": format!("{}.things", shop.name()), "command": "insert"};
    assert_eq!(shapes.count_documents(mine.clone()).await.unwrap(), 1);
    let shape = shapes
        .find_one(mine)
        .projection(doc! {"count": 1, "_id": 0});
    assert_eq!(shape.await.unwrap(), Some(doc! {"count": 3}));
    for collection in COLLECTIONS {
        let collection = petiole.collection::<Document>(collection);
        let all: Vec<Document> = collection
            .find(doc! {})
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert!(all.iter().all(|row| row.contains_key("_id")));
    }
    let unknown = petiole.collection::<Document>("nothing");
    assert_eq!(unknown.find_one(doc! {}).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn big_results_come_in_batches() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &ON);
    let client = client(&proxy).await;
    let shop = client.database(&shared::database("batches"));
    for i in 0..30 {
        let of_its_own = shop.collection::<Document>(&format!("c{i}"));
        of_its_own.find_one(doc! {}).await.unwrap();
    }
    let shapes = client.database("petiole").collection::<Document>("shapes");
    let mine = doc! {"command": "find", "count": 1};
    let cursor = shapes.find(mine).sort(doc! {"namespace": 1}).batch_size(7);
    let found: Vec<Document> = cursor.await.unwrap().try_collect().await.unwrap();
    assert_eq!(found.len(), 30);
    let names: Vec<_> = found
        .iter()
        .map(|s| s.get_str("namespace").unwrap())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_read_only_and_says_what_it_cannot_answer() {
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &ON);
    let client = client(&proxy).await;
    let petiole = client.database("petiole");
    for command in [
        doc! {"insert": "status", "documents": [{"a": 1}]},
        doc! {"update": "status", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}]},
        doc! {"delete": "status", "deletes": [{"q": {}, "limit": 0}]},
        doc! {"findAndModify": "status", "remove": true},
        doc! {"drop": "status"},
        doc! {"dropDatabase": 1},
        doc! {"create": "mine"},
        doc! {"frobnicate": 1},
    ] {
        let error = petiole.run_command(command.clone()).await.unwrap_err();
        let (code, message) = refusal(&error);
        assert_eq!(code, 115, "{command}: {message}");
        assert!(
            message.contains("petiole: ") && message.contains("console"),
            "{message}"
        );
    }
    let shop = client.database(&shared::database("console"));
    let things = shop.collection::<Document>("things");
    things.insert_one(doc! {"_id": 1}).await.unwrap();
    let into = |stage: Document| doc! {"aggregate": "things", "pipeline": [stage], "cursor": {}};
    let things = format!("{}.things", shop.name());
    let admin = client.database("admin");
    for (database, command) in [
        (&shop, into(doc! {"$out": {"db": "petiole", "coll": "x"}})),
        (
            &shop,
            into(doc! {"$merge": {"into": {"db": "petiole", "coll": "x"}}}),
        ),
        (
            &shop,
            doc! {"mapReduce": "things", "map": "function() {}", "reduce": "function() {}",
            "out": {"replace": "x", "db": "petiole"}},
        ),
        (&admin, doc! {"renameCollection": things, "to": "petiole.x"}),
        (
            &admin,
            doc! {"applyOps": [{"op": "c", "ns": "petiole.$cmd", "o": {"create": "x"}}]},
        ),
        (
            &admin,
            doc! {"bulkWrite": 1, "ops": [{"insert": 0, "document": {}}], "nsInfo": [{"ns": "petiole.x"}]},
        ),
    ] {
        let error = database.run_command(command.clone()).await.unwrap_err();
        let (code, message) = refusal(&error);
        assert!(
            code == 115 && message.contains("console"),
            "{command}: {message}"
        );
    }
    for command in [
        doc! {"find": "status", "filter": {"$where": "true"}},
        doc! {"find": "status", "collation": {"locale": "de"}},
        doc! {"aggregate": "status", "pipeline": [{"$unwind": "$a"}], "cursor": {}},
    ] {
        let error = petiole.run_command(command.clone()).await.unwrap_err();
        let (code, message) = refusal(&error);
        assert!(
            code == 2 && message.contains("the console"),
            "{command}: {message}"
        );
    }
    assert!(petiole.run_command(doc! {"ping": 1}).await.is_ok());
    let direct = Client::with_uri_str(rs.uri()).await.unwrap();
    let real = direct.list_database_names().await.unwrap();
    assert!(
        !real.contains(&"petiole".to_owned()),
        "something reached the server: {real:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_who_are_named_may_ask() {
    let direct = shared::auth().await.uri();
    let settings = [("admin.console", "[\"admin.root\"]")];
    let proxy = Proxy::start(&direct, &settings);
    let mut options = ClientOptions::parse(proxy.uri()).await.unwrap();
    let credential = Credential::builder()
        .username(ROOT.0.to_owned())
        .password(ROOT.1.to_owned());
    options.credential = Some(credential.build());
    let root = Client::with_options(options).unwrap();
    let status = root.database("petiole").collection::<Document>("status");
    assert!(status.find_one(doc! {}).await.unwrap().is_some());
    let me = root.database("petiole").collection::<Document>("clients");
    let named = me
        .count_documents(doc! {"principal": {"$ne": null}})
        .await
        .unwrap();
    assert!(named >= 1);

    let user = doc! {"createUser": "console_reader", "pwd": "p", "roles": ["readAnyDatabase"]};
    root.database("admin").run_command(user).await.unwrap();
    let other = format!(
        "mongodb://console_reader:p@{}/?authSource=admin",
        proxy.address()
    );
    for uri in [other, proxy.uri()] {
        let client = Client::with_uri_str(uri).await.unwrap();
        let status = client.database("petiole").collection::<Document>("status");
        let (code, message) = refusal(&status.find_one(doc! {}).await.unwrap_err());
        assert_eq!(code, 13, "{message}");
        assert!(message.contains("admin.console"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_console_a_real_database_of_the_name_is_reached() {
    let deployment = petiole::embedded::Deployment::start(Default::default())
        .await
        .unwrap();
    let proxy = Proxy::start(&deployment.seed_uri(), &[]);
    let real = client(&proxy)
        .await
        .database("petiole")
        .collection::<Document>("status");
    real.insert_one(doc! {"_id": 1, "mine": true})
        .await
        .unwrap();
    assert_eq!(
        real.find_one(doc! {}).await.unwrap(),
        Some(doc! {"_id": 1, "mine": true})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mongosh_uses_the_console_as_a_person_does() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &ON);
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().to_owned();
    let mut command = tokio::task::spawn_blocking(move || node::mongosh(&path))
        .await
        .expect("mongosh is prepared");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/console.js");
    command
        .arg(proxy.uri())
        .args(["--quiet", "--norc", "--file", script])
        .stdin(Stdio::null());
    let output = tokio::process::Command::from(command)
        .output()
        .await
        .expect("mongosh runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.trim_end().ends_with("sections ok"),
        "{shown}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
