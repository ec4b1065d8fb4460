//! `petiole top --once`, as a pipe sees it.

use std::process::{Command, Output};

use bson::{Document, doc};
use mongodb::Client;

use crate::parts::proxy::Proxy;
use crate::parts::{shared, wait};

fn top(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_petiole"))
        .arg("top")
        .args(arguments)
        .env_remove("PETIOLE_ADMIN_TOKEN")
        .output()
        .expect("petiole runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_picture_shows_every_page() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    let client = Client::with_uri_str(proxy.uri()).await.unwrap();
    let database = shared::database("top");
    let things = client.database(&database).collection::<Document>("things");
    things.insert_one(doc! {"_id": 1}).await.unwrap();
    things.find_one(doc! {"_id": 1}).await.unwrap();
    wait::until("a second has passed", || {
        text(&top(&["--admin", proxy.admin()]).stdout).contains("/s")
    });
    let output = top(&["--admin", proxy.admin(), "--once"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in [
        "● live",
        "Requests",
        "Hit ratio",
        "SHAPES",
        "SLOW",
        "ADVICE",
        "MEMORY",
        "SERVERS",
        "primary",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
    assert!(shown.contains("things"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no escape codes in a pipe");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_taken() {
    let settings = [("admin.token", "\"open-sesame\"")];
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &settings);
    let refused = top(&["--once", "--admin", proxy.admin()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("wants a token"),
        "{}",
        text(&refused.stderr)
    );
    let let_in = top(&["--once", "--admin", proxy.admin(), "--token", "open-sesame"]);
    assert!(let_in.status.success(), "{}", text(&let_in.stderr));
}

#[test]
fn a_proxy_that_is_not_there_is_said_in_words() {
    let output = top(&["--once", "--admin", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("no proxy answers at 127.0.0.1:1"), "{said}");
}
