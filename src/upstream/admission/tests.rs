use bson::doc;

use super::*;
use crate::pipeline::scripted::request;

fn admission(limits: config::Admission, max_links: usize) -> Arc<Admission> {
    Admission::new(&limits, max_links, Duration::from_millis(20))
}

fn find(collection: &str) -> Request {
    request(&doc! {"find": collection, "$db": "d"})
}

fn server(id: u32, admission: &Admission) -> Arc<Server> {
    let address = crate::upstream::Address::parse("h:1").unwrap();
    Server::new(id, address, admission.links_of_server())
}

/// Lets a request in at a server, one of so many.
async fn enter<'a>(
    admission: &'a Admission,
    server: &Server,
    servers: usize,
    mut request: Request,
) -> Result<Entered<'a>, Failure> {
    let mut patience = admission.patience(&request);
    admission
        .enter(server, servers, &mut request, Budget::Shared, &mut patience)
        .await
}

/// The key of the share of which there was no place.
fn wanting(entered: Result<Entered<'_>, Failure>) -> &'static str {
    let failure = entered.unwrap_err();
    match failure.fault {
        Fault::WaitQueueTimeout { key, .. } if !failure.sent => key,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn one_namespace_gets_its_share_and_another_is_not_held_up() {
    let admission = admission(config::Admission::default(), 4);
    let only = server(1, &admission);
    let enter = |request| enter(&admission, &only, 1, request);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(enter(find("slow")).await.unwrap());
    }
    assert_eq!(wanting(enter(find("slow")).await), NAMESPACE_SHARE);
    enter(find("other")).await.unwrap();
    let more = doc! {"getMore": 1_i64, "collection": "slow", "$db": "d"};
    enter(request(&more)).await.unwrap();
    held.pop();
    enter(find("slow")).await.unwrap();
    assert_eq!(admission.stats().queued, 0);
}

#[tokio::test]
async fn one_server_gets_its_share_and_transactions_and_cursors_need_none() {
    let admission = admission(config::Admission::default(), 4);
    let [slow, other] = [1, 2].map(|id| server(id, &admission));
    let enter = |server, request| enter(&admission, server, 2, request);
    let mut held = Vec::new();
    for name in ["a", "b", "c"] {
        held.push(enter(&slow, find(name)).await.unwrap());
    }
    assert_eq!(wanting(enter(&slow, find("d")).await), SERVER_SHARE);
    enter(&other, find("d")).await.unwrap();
    let more = doc! {"getMore": 1_i64, "collection": "d", "$db": "d"};
    let more = enter(&slow, request(&more)).await.unwrap();
    assert_eq!((slow.occupancy.busy(), other.occupancy.busy()), (4, 0));
    drop((held.pop(), more));
    enter(&slow, find("d")).await.unwrap();
    assert_eq!(slow.occupancy.busy(), 2);
}

#[tokio::test]
async fn a_namespace_that_is_slow_at_one_server_is_at_hand_at_another() {
    // A namespace may have 7 of 10 links, and of these 6 at one server.
    let admission = admission(config::Admission::default(), 10);
    let [slow, quick] = [1, 2].map(|id| server(id, &admission));
    let enter = |server, request| enter(&admission, server, 2, request);
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(enter(&slow, find("hot")).await.unwrap());
    }
    assert_eq!(wanting(enter(&slow, find("hot")).await), SERVER_SHARE);
    held.push(enter(&quick, find("hot")).await.unwrap());
    assert_eq!(wanting(enter(&quick, find("hot")).await), NAMESPACE_SHARE);
    enter(&quick, find("other")).await.unwrap();
}

#[tokio::test]
async fn what_ends_work_or_looks_at_it_waits_for_nobody() {
    let admission = admission(config::Admission::default(), 4);
    let slow = server(1, &admission);
    let enter = |request| enter(&admission, &slow, 2, request);
    let mut held = Vec::new();
    for name in ["a", "b", "c"] {
        held.push(enter(find(name)).await.unwrap());
    }
    for command in [
        doc! {"ping": 1, "$db": "admin"},
        doc! {"currentOp": 1, "$db": "admin"},
        doc! {"aggregate": 1, "pipeline": [{"$currentOp": {}}], "cursor": {}, "$db": "admin"},
        doc! {"serverStatus": 1, "$db": "admin"},
        doc! {"killOp": 1, "op": 1, "$db": "admin"},
        doc! {"killSessions": [], "$db": "admin"},
        doc! {"endSessions": [], "$db": "admin"},
        doc! {"killCursors": "a", "cursors": [1_i64], "$db": "d"},
        doc! {"abortTransaction": 1, "autocommit": false, "$db": "admin"},
    ] {
        let entered = enter(request(&command)).await;
        assert!(entered.is_ok(), "{command}");
    }
    for command in [
        doc! {"bulkWrite": 1, "ops": [], "nsInfo": [], "$db": "admin"},
        doc! {"explain": {"find": "a"}, "$db": "d"},
        doc! {"aggregate": "a", "pipeline": [], "cursor": {}, "$db": "d"},
    ] {
        let entered = enter(request(&command)).await;
        assert!(entered.is_err(), "{command}");
    }
}

#[test]
fn what_is_over_a_limit_is_refused_with_labels_that_drivers_know() {
    let limits = config::Admission {
        max_per_principal: 2,
        max_per_client: 1,
        ..config::Admission::default()
    };
    let admission = admission(limits, 4);
    let mut first = find("c");
    first.address = Some([127, 0, 0, 1].into());
    let held = admission.admit(&first).unwrap();
    let refused = admission.admit(&first).unwrap_err();
    let reply = refused.reply(&first.command);
    assert_eq!(reply.code, 462);
    assert_eq!(reply.labels, ["SystemOverloadedError", "RetryableError"]);
    let second = admission.admit(&find("c")).unwrap();
    assert!(admission.admit(&find("c")).is_err());
    drop((held, second));
    admission.admit(&first).unwrap();
    assert_eq!(admission.stats().rejected, 2);
    assert!(admission.principals.0.is_empty() && admission.addresses.0.is_empty());
}

#[test]
fn the_queue_is_bounded() {
    let limits = config::Admission {
        max_queue: 1,
        ..config::Admission::default()
    };
    let admission = admission(limits, 4);
    let waiting = admission.queue().unwrap();
    assert!(admission.queue().is_err());
    drop(waiting);
    assert!(admission.queue().is_ok());
}
