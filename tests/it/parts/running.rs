//! What a server is running, as it says itself. (Links in use don't tell: the proxy has questions of its own.)

use bson::doc;

use super::asker::Asker;
use super::wait;

/// Waits until the server of this address runs an operation in this namespace.
pub async fn until_running(address: &str, namespace: &str) {
    let what = format!("an operation in {namespace} is running");
    wait::until_async(&what, async || operations(address, namespace).await > 0).await;
}

/// Waits until it runs none.
pub async fn until_ended(address: &str, namespace: &str) {
    let what = format!("no operation in {namespace} is running");
    wait::until_async(&what, async || operations(address, namespace).await == 0).await;
}

async fn operations(address: &str, namespace: &str) -> usize {
    let pipeline = vec![
        doc! {"$currentOp": {}},
        doc! {"$match": {"ns": namespace, "active": true}},
    ];
    let ask = doc! {"aggregate": 1, "pipeline": pipeline, "cursor": {}, "$db": "admin"};
    let mut asker = Asker::connect(address).await;
    asker.ask(&ask).await.batch().len()
}
