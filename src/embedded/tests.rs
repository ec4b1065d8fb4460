use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_replica_set_starts_with_a_primary() {
    let begun = std::time::Instant::now();
    let deployment = Deployment::start(MongodOptions::default()).await.unwrap();
    println!("started in {:?}", begun.elapsed());
    assert_eq!(deployment.primary_index().await, Some(0));
    let client = mongodb::Client::with_uri_str(deployment.uri())
        .await
        .unwrap();
    client
        .database("t")
        .collection("c")
        .insert_one(mongodb::bson::doc! { "_id": 1 })
        .await
        .unwrap();
    deployment.kill(0).unwrap();
    deployment.restart(0).await.unwrap();
    deployment
        .wait_for_primary(Duration::from_secs(30))
        .await
        .unwrap();
}
