//! What applications see when MongoDB is lost and all tries are used up (`server.lost_upstream`).

use std::path::PathBuf;
use std::process::Command;

use bson::doc;
use petiole::embedded::{Deployment, MongodOptions};

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::{node, python};
use crate::raw::RawClient;

async fn mongod() -> Deployment {
    let options = MongodOptions::default().set_parameter("enableTestCommands", "1");
    Deployment::start(options).await.unwrap()
}

fn proxy(mongod: &Deployment, more: &[(&str, &str)]) -> Proxy {
    // Links that fail on purpose say nothing of the server.
    let all = [&[("upstream.breaker_failures", "0")], more].concat();
    Proxy::start(&mongod.seed_uri(), &all)
}

fn script(mut program: Command, name: &str, uri: &str, mongod: &Deployment, mode: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let direct = format!("mongodb://{}/", mongod.addresses()[0]);
    let run = program.arg(path.join(name)).args([uri, &direct, mode]);
    let output = run.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.trim() == "ok",
        "{name} {mode}: {text}{errors}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_of_pymongo_see_a_lost_mongod_as_they_do_directly() {
    let mongod = mongod().await;
    script(
        python::pymongo(),
        "lost.py",
        &mongod.uri(),
        &mongod,
        "close",
    );
    script(
        python::pymongo(),
        "lost.py",
        &proxy(&mongod, &[]).uri(),
        &mongod,
        "close",
    );
    let set = ("server.posture", "\"replica-set\"");
    script(
        python::pymongo(),
        "lost.py",
        &proxy(&mongod, &[set]).uri(),
        &mongod,
        "close",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_of_node_see_a_lost_mongod_as_they_do_directly() {
    let mongod = mongod().await;
    script(node::node(), "lost.mjs", &mongod.uri(), &mongod, "close");
    script(
        node::node(),
        "lost.mjs",
        &proxy(&mongod, &[]).uri(),
        &mongod,
        "close",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_other_option_drivers_raise_an_error_of_the_server() {
    let mongod = mongod().await;
    let proxy = proxy(&mongod, &[("server.lost_upstream", "\"error\"")]);
    script(python::pymongo(), "lost.py", &proxy.uri(), &mongod, "error");
    script(node::node(), "lost.mjs", &proxy.uri(), &mongod, "error");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_client_whose_request_was_lost_loses_its_connection() {
    let mongod = mongod().await;
    let proxy = proxy(&mongod, &[]);
    let mut direct = Asker::connect(&mongod.addresses()[0]).await;
    let mut other = Asker::connect(proxy.address()).await;
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    other.ask(&doc! {"ping": 1, "$db": "admin"}).await;
    let data = doc! {"failCommands": ["find"], "closeConnection": true, "namespace": "lost.c"};
    let mut fail = doc! {"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data};
    fail.insert("$db", "admin");
    direct.ask(&fail).await;
    let find = doc! {"find": "c", "$db": "lost"};
    assert!(
        client.command(&find).await.is_err(),
        "its connection is closed"
    );
    other.ask(&doc! {"ping": 1, "$db": "admin"}).await;
    assert_eq!(proxy.count("/clients/failures"), 1, "{}", proxy.status());
}
