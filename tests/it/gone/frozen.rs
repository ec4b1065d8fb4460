//! A proxy that stands still, as with a paused virtual machine or container, and wakes when its clients have gone.

use std::time::{Duration, Instant};

use bson::doc;

use super::{Kind, Writes};
use crate::batch::ON;
use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::{shared, wait};

/// A shorter stop isn't told from a busy machine, and a write without a reply may be sent after it.
const NOTICED: Duration = Duration::from_millis(800);

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_wakes_does_not_send_what_lies_in_the_sockets_of_clients_that_have_gone() {
    let rs = shared::rs().await;
    for batching in [false, true] {
        let settings = if batching { vec![ON] } else { Vec::new() };
        let proxy = Proxy::start(&rs.seed_uri(), &settings);
        let db = shared::database("frozen");
        let mut direct = Asker::connect(&rs.addresses()[0]).await;
        // Twice: those that are merged, and a client that has sent several.
        let kinds = [Kind::ALL, Kind::ALL].concat();
        let writes = Writes::prepare(&mut direct, &db, &kinds).await;
        let mut clients = writes.clients(&proxy).await;
        proxy.signal("STOP");
        let stopped = Instant::now();
        writes.send(&mut clients).await;
        drop(clients);
        wait::until("the stop is long", || stopped.elapsed() > NOTICED);
        proxy.signal("CONT");
        writes.until_given_up(&proxy);
        assert!(writes.carried_out(&mut direct).await.is_empty());
        let mut later = Asker::connect(proxy.address()).await;
        let update = doc! {"update": "c", "updates": [{"q": {"_id": 0}, "u": {"$set": {"v": 2}}}], "$db": &db};
        assert_eq!(later.ask(&update).await.reply.get_i32("n").ok(), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_client_sent_without_wanting_replies_is_given_up_with_the_first_of_it() {
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &[]);
    let db = shared::database("backlog");
    let mut direct = Asker::connect(&rs.addresses()[0]).await;
    let writes = Writes::prepare(&mut direct, &db, &[Kind::Silent; 20]).await;
    let mut client = writes.clients(&proxy).await.swap_remove(0);
    proxy.signal("STOP");
    let stopped = Instant::now();
    for _ in 0..5 {
        writes.send_all_by(&mut client).await;
    }
    drop(client);
    wait::until("the stop is long", || stopped.elapsed() > NOTICED);
    proxy.signal("CONT");
    wait::until("its connection ends", || proxy.count("/clients/open") == 0);
    assert_eq!(proxy.count("/clients/given_up"), 1);
    assert!(writes.carried_out(&mut direct).await.is_empty());
}
