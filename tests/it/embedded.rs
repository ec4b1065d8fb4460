//! The embedded mongod, and the test-only servers and languages beside it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, TransactionOptions, WriteConcern};
use petiole::embedded::{Deployment, EmbeddedError, MongodOptions, Signal, TlsFiles, find_mongod};

use crate::parts::tls::Certificates;
use crate::parts::wait::{PATIENCE, until};
use crate::parts::{node, python, shared};

async fn client(uri: &str) -> Client {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(PATIENCE);
    Client::with_options(options).unwrap()
}

async fn insert(client: &Client, id: i32) -> mongodb::error::Result<()> {
    let collection = client.database("embedded").collection::<Document>("c");
    let majority = WriteConcern::majority();
    let insert = collection.insert_one(doc! { "_id": id });
    insert.write_concern(majority).await.map(|_| ())
}

async fn count(client: &Client) -> u64 {
    let collection = client.database("embedded").collection::<Document>("c");
    collection.count_documents(doc! {}).await.unwrap()
}

#[test]
fn a_mongod_is_found_and_says_its_version() {
    let mongod = find_mongod().unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(&mongod).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("db version v"), "{text}");
    assert_eq!(find_mongod().unwrap(), mongod);
}

#[tokio::test]
async fn a_replica_set_starts_with_a_primary_and_takes_a_transaction() {
    let deployment = shared::rs().await;
    assert_eq!(deployment.primary_index().await, Some(0));
    let client = client(&deployment.uri()).await;
    let name = shared::database("embedded");
    let collection = client.database(&name).collection::<Document>("c");
    client.database(&name).create_collection("c").await.unwrap();
    let mut session = client.start_session().await.unwrap();
    let majority = TransactionOptions::builder()
        .write_concern(WriteConcern::majority())
        .build();
    session
        .start_transaction()
        .with_options(majority)
        .await
        .unwrap();
    let insert = collection.insert_one(doc! { "_id": 1 });
    insert.session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    assert_eq!(collection.count_documents(doc! {}).await.unwrap(), 1);
    client.database(&name).drop().await.unwrap();
}

#[tokio::test]
async fn a_standalone_is_no_replica_set() {
    let deployment = shared::standalone().await;
    let client = client(&deployment.uri()).await;
    let admin = client.database("admin");
    let hello = admin.run_command(doc! { "hello": 1 }).await.unwrap();
    assert!(hello.get_bool("isWritablePrimary").unwrap());
    assert!(!hello.contains_key("setName"));
    assert_eq!(deployment.primary_index().await, Some(0));
}

#[tokio::test]
async fn a_deployment_with_auth_refuses_who_does_not_log_in() {
    let deployment = shared::auth().await;
    let address = deployment.addresses().remove(0);
    let stranger = client(&format!("mongodb://{address}/?directConnection=true")).await;
    let error = insert(&stranger, 1).await.unwrap_err();
    let code = match *error.kind {
        mongodb::error::ErrorKind::Command(ref error) => error.code,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(code, 13, "Unauthorized");
    let database = shared::database("embedded");
    let root = client(&deployment.uri()).await;
    let collection = root.database(&database).collection::<Document>("c");
    collection.insert_one(doc! { "_id": 1 }).await.unwrap();
    root.database(&database).drop().await.unwrap();
}

#[tokio::test]
async fn a_standalone_with_auth_has_its_root_user() {
    let options = MongodOptions::standalone().with_auth("root", "p@ss/word");
    let deployment = Deployment::start(options).await.unwrap();
    insert(&client(&deployment.uri()).await, 1).await.unwrap();
    let wrong = deployment.uri().replace("p%40ss", "guess");
    insert(&client(&wrong).await, 2).await.unwrap_err();
}

#[tokio::test]
async fn a_killed_member_comes_back_with_its_data() {
    let deployment = Deployment::start(MongodOptions::default()).await.unwrap();
    let driver = client(&deployment.uri()).await;
    insert(&driver, 1).await.unwrap();
    let old = deployment.pid(0).unwrap();
    deployment.kill(0).unwrap();
    assert!(!lives(old));
    assert_eq!(deployment.pid(0), None);
    assert_eq!(deployment.primary_index().await, None);
    let again = deployment.kill(0);
    assert!(matches!(again, Err(EmbeddedError::NotRunning { index: 0 })));
    deployment.restart(0).await.unwrap();
    assert_eq!(deployment.wait_for_primary(PATIENCE).await.unwrap(), 0);
    assert_eq!(count(&client(&deployment.uri()).await).await, 1);
}

#[tokio::test]
async fn three_members_elect_another_when_the_primary_steps_down_or_stops() {
    let deployment = Deployment::start(MongodOptions::replica_set(3))
        .await
        .unwrap();
    assert_eq!(deployment.addresses().len(), 3);
    let driver = client(&deployment.uri()).await;
    insert(&driver, 1).await.unwrap();

    let first = deployment.primary_index().await.unwrap();
    deployment.step_down(Duration::from_secs(60)).await.unwrap();
    let second = deployment.wait_for_primary(PATIENCE).await.unwrap();
    assert_ne!(first, second);
    insert(&driver, 2).await.unwrap();

    deployment.signal(second, Signal::Stop).unwrap();
    let third = deployment.wait_for_primary(PATIENCE).await.unwrap();
    assert_ne!(second, third);
    assert_eq!(deployment.primary_index().await, Some(third));
    deployment.signal(second, Signal::Cont).unwrap();
    deployment.wait_for_primary(PATIENCE).await.unwrap();
    // The first one still waits for an answer from the stopped member.
    let driver = client(&deployment.uri()).await;
    insert(&driver, 3).await.unwrap();
    assert_eq!(count(&driver).await, 3);
}

#[tokio::test]
async fn with_tls_only_tls_is_spoken() {
    let certificates = Certificates::new();
    for require_client_certificate in [false, true] {
        let options = MongodOptions {
            tls: Some(TlsFiles {
                certificate_key: certificates.server(),
                ca: certificates.ca(),
                require_client_certificate,
            }),
            ..MongodOptions::default()
        };
        let deployment = Deployment::start(options).await.unwrap();
        insert(&client(&deployment.uri()).await, 1).await.unwrap();
        let plain = format!(
            "mongodb://{}/?directConnection=true",
            deployment.addresses()[0]
        );
        let mut plain = ClientOptions::parse(plain).await.unwrap();
        plain.server_selection_timeout = Some(Duration::from_secs(1));
        let plain = Client::with_options(plain).unwrap();
        insert(&plain, 2).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_failed_start_shows_the_log() {
    let options = MongodOptions::default().set_parameter("noSuchParameter", "1");
    let error = Deployment::start(options).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, EmbeddedError::Ended { .. }), "{text}");
    assert!(text.contains("noSuchParameter"), "{text}");
}

#[tokio::test]
async fn a_taken_port_is_named_when_it_was_asked_for() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let options = MongodOptions {
        port: Some(address.port()),
        ..MongodOptions::standalone()
    };
    let error = Deployment::start(options).await.unwrap_err();
    assert!(
        matches!(&error, EmbeddedError::PortTaken { address: named } if *named == address.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_dropped_deployment_leaves_nothing() {
    let deployment = Deployment::start(MongodOptions::standalone())
        .await
        .unwrap();
    let (pid, dir) = (deployment.pid(0).unwrap(), deployment.dir().to_owned());
    assert!(lives(pid) && dir.is_dir());
    drop(deployment);
    assert!(!lives(pid));
    assert!(!dir.exists());
}

/// Holds a mongod until stdin closes, when told to; see the next test.
#[tokio::test]
#[ignore = "run by a_killed_parent_takes_its_mongod_along, in a process of its own"]
async fn hold_a_mongod() {
    let deployment = Deployment::start(MongodOptions::default()).await.unwrap();
    let pid = deployment.pid(0).unwrap();
    assert!(lives(pid));
    println!("\nholding\t{pid}\t{}", deployment.dir().display());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

#[test]
fn a_killed_parent_takes_its_mongod_along() {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "embedded::hold_a_mongod",
            "--ignored",
            "--nocapture",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(parent.stdout.take().unwrap());
    let line = said
        .lines()
        .map(Result::unwrap)
        .find(|line| line.starts_with("holding\t"))
        .expect("the parent starts a mongod");
    let mut fields = line.split('\t').skip(1);
    let pid: u32 = fields.next().unwrap().parse().unwrap();
    let dir = std::path::PathBuf::from(fields.next().unwrap());
    assert!(lives(pid) && dir.is_dir());
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("mongod is gone", || !lives(pid));
    until("its directory is gone", || !dir.exists());
}

#[tokio::test]
async fn secantus_answers_pymongo() {
    let secantus = shared::secantus().await;
    let program = "import pymongo, sys; \
                   print(pymongo.MongoClient(sys.argv[1]).admin.command('hello')['setName'])";
    let output = python::pymongo()
        .args(["-c", program, &secantus.uri()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"secantus\n");
}

#[tokio::test]
async fn node_and_mongosh_reach_a_mongod() {
    let uri = shared::rs().await.uri();
    let program = "const { MongoClient } = require('mongodb'); \
                   new MongoClient(process.argv[1]).db('admin').command({ hello: 1 }) \
                   .then(hello => { console.log(hello.setName); process.exit(0); })";
    let output = node::node().args(["-e", program, &uri]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"rs0\n");
    let home = tempfile::tempdir().unwrap();
    let output = node::mongosh(home.path())
        .args([&uri, "--quiet", "--norc", "--eval", "db.hello().setName"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"rs0\n");
}

fn lives(pid: u32) -> bool {
    // The shell's own kill: a program of that name is not everywhere.
    let status = Command::new("sh")
        .args(["-c", "kill -s 0 \"$0\"", &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}
