//! The same for a user who has to authenticate: only the client can do that anew.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::{ClientOptions, Credential, ReadPreference, SelectionCriteria};
use petiole::embedded::MongodOptions;
use serde_json::json;

use super::load::Load;
use super::{Fault, LONG_WAIT, PATIENCE, start};
use crate::parts::proxy::Proxy;
use crate::parts::shared::ROOT;
use crate::parts::wait;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_retries_sees_no_error_and_one_without_at_most_one_per_connection() {
    let deployment = start(MongodOptions::replica_set(3).with_auth(ROOT.0, ROOT.1)).await;
    let settings = [LONG_WAIT, ("profile.enabled", "false")];
    let proxy = Proxy::start(&deployment.seed_uri(), &settings);
    let mut load = Load::start("failover_users.py", &[&proxy.uri(), ROOT.0, ROOT.1]);
    for fault in [Fault::StepDown, Fault::Kill] {
        fault.happen(&deployment).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    deployment.wait_for_primary(PATIENCE).await.unwrap();
    let report = load.end();
    println!("{report:#}");
    for client in ["default", "off"] {
        assert_eq!(report[client]["wrong"], json!([]), "{report:#}");
        assert!(report[client]["done"].as_u64() > Some(100), "{report:#}");
    }
    assert_eq!(
        report["default"]["errors"],
        json!({}),
        "{report:#}\n{}",
        proxy.log()
    );
    let most = report["off"]["most_of_one_connection"].as_u64();
    assert!(most <= Some(1), "{report:#}\n{}", proxy.log());
}

/// Its links to the member that was primary still live, and that member is a secondary now.
#[tokio::test(flavor = "multi_thread")]
async fn reads_that_prefer_a_secondary_go_on_where_their_user_is_known() {
    let deployment = start(MongodOptions::replica_set(3).with_auth(ROOT.0, ROOT.1)).await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[LONG_WAIT]);
    let mut options = ClientOptions::parse(proxy.uri()).await.unwrap();
    let credential = Credential::builder()
        .username(ROOT.0.to_owned())
        .password(ROOT.1.to_owned());
    options.credential = Some(credential.build());
    options.max_pool_size = Some(1);
    options.retry_reads = Some(false);
    let preference = ReadPreference::SecondaryPreferred {
        options: Default::default(),
    };
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(preference));
    let client = Client::with_options(options).unwrap();
    let c = client.database("users").collection::<Document>("c");
    c.insert_one(doc! {"_id": 1}).await.unwrap();
    let old = deployment.wait_for_primary(PATIENCE).await.unwrap();
    deployment.step_down(Duration::from_secs(60)).await.unwrap();
    deployment.wait_for_primary(PATIENCE).await.unwrap();
    wait::until("the proxy knows", || {
        let status = proxy.status();
        let servers = status["upstream"]["servers"].as_array().unwrap().clone();
        let role = |of: &str| servers.iter().any(|s| s["role"] == of);
        let old = servers
            .iter()
            .find(|s| s["address"] == deployment.addresses()[old]);
        role("primary") && old.is_some_and(|s| s["role"] == "secondary")
    });
    for _ in 0..20 {
        assert!(c.find_one(doc! {}).await.unwrap().is_some());
    }
    // A write has to go to the new primary, where nobody knows this user yet.
    let error = c.update_many(doc! {}, doc! {"$set": {"a": 1}}).await;
    assert!(error.unwrap_err().to_string().contains("reconnect"));
    c.update_many(doc! {}, doc! {"$set": {"a": 1}})
        .await
        .unwrap();
}
