//! Many clients over few links (issue: 1,000 idle and 256 busy over at most 64).

use bson::{Document, doc};

use crate::parts::proxy::Proxy;
use crate::parts::{running, shared, wait};
use crate::raw::RawClient;

/// A client of raw messages that fails the test when something is wrong with it.
struct Raw(RawClient);

impl Raw {
    async fn connect(address: &str) -> Raw {
        Raw(RawClient::connect(address).await.expect("a connection"))
    }

    async fn command(&mut self, command: Document) -> Document {
        let reply = self.0.command(&command).await.expect("a reply");
        Document::try_from(&*reply).expect("sound BSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_and_256_busy_clients_need_at_most_64_links() {
    let proxy = Proxy::start(&shared::rs().await.seed_uri(), &[]);
    let db = shared::database("many");
    let mut warm = Raw::connect(proxy.address()).await;
    warm.command(doc! {"insert": "c", "documents": [{"_id": 1}], "$db": &db})
        .await;
    let before = proxy.rss();
    let mut idle = Vec::new();
    for _ in 0..1000 {
        let mut client = Raw::connect(proxy.address()).await;
        let hello = client.command(doc! {"hello": 1, "$db": "admin"}).await;
        assert!(hello.get_f64("ok").is_ok_and(|ok| ok == 1.0), "{hello}");
        idle.push(client);
    }
    let per_client = proxy.rss().saturating_sub(before) / 1000;
    assert!(
        per_client < 64 * 1024,
        "{per_client} bytes for an idle client"
    );
    println!("{per_client} bytes of resident memory for an idle client");
    let busy = (0..256).map(|n| {
        let (address, db) = (proxy.address().to_owned(), db.clone());
        tokio::spawn(async move {
            let mut client = Raw::connect(&address).await;
            for i in 0..20 {
                let id = n * 1000 + i;
                let reply = client
                    .command(doc! {"insert": "busy", "documents": [{"_id": id}], "$db": &db})
                    .await;
                assert_eq!(reply.get_i32("n").ok(), Some(1), "{reply}");
                let reply = client
                    .command(doc! {"find": "busy", "filter": {"_id": id}, "$db": &db})
                    .await;
                let batch = reply
                    .get_document("cursor")
                    .unwrap()
                    .get_array("firstBatch")
                    .unwrap();
                assert_eq!(batch.len(), 1, "{reply}");
            }
        })
    });
    for client in busy.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert!(proxy.count("/pool/links") <= 64, "{}", proxy.status());
    assert_eq!(proxy.count("/clients/failures"), 0, "{}", proxy.log());
    for client in &mut idle {
        let pong: Document = client.command(doc! {"ping": 1, "$db": "admin"}).await;
        assert!(pong.get_f64("ok").is_ok_and(|ok| ok == 1.0), "{pong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_for_a_link_is_told_why() {
    let settings = [
        ("upstream.max_links", "1"),
        ("upstream.wait_timeout", "\"200ms\""),
    ];
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &settings);
    let db = shared::database("wait");
    let mut first = Raw::connect(proxy.address()).await;
    first
        .command(doc! {"insert": "c", "documents": [{"_id": 1}], "$db": &db})
        .await;
    wait::until("the only link is back", || proxy.count("/pool/idle") == 1);
    let slow = doc! {"find": "c", "filter": {"$where": "sleep(4000) || true"}, "$db": &db};
    let slow = tokio::spawn(async move { first.command(slow).await });
    // On the only link.
    running::until_running(&rs.addresses()[0], &format!("{db}.c")).await;
    let mut second = Raw::connect(proxy.address()).await;
    let reply = second.command(doc! {"ping": 1, "$db": &db}).await;
    assert_eq!(reply.get_i32("code").ok(), Some(262), "{reply}");
    assert!(
        reply
            .get_str("errmsg")
            .unwrap()
            .contains("upstream.max_links"),
        "{reply}"
    );
    let mut limited = Raw::connect(proxy.address()).await;
    let reply = limited
        .command(doc! {"ping": 1, "maxTimeMS": 50, "$db": &db})
        .await;
    assert_eq!(
        reply.get_i32("code").ok(),
        Some(50),
        "MaxTimeMSExpired: {reply}"
    );
    assert_eq!(slow.await.unwrap().get_f64("ok").ok(), Some(1.0));
    assert_eq!(
        second
            .command(doc! {"ping": 1, "$db": &db})
            .await
            .get_f64("ok")
            .ok(),
        Some(1.0)
    );
}
