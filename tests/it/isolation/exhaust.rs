//! Exhaust cursors: a client asks for all batches at once, and the proxy answers them one by one, so that they meet what
//! every request meets.

use bson::{Document, doc};

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::shared;
use crate::raw::{EXHAUST_ALLOWED, MORE_TO_COME, RawClient, Section, encode};

/// The reply to a command that allows exhaust.
async fn exhaust(client: &mut RawClient, command: &Document) -> Document {
    let sections = [Section::Body(encode(command))];
    let reply = client.roundtrip(EXHAUST_ALLOWED, &sections).await.unwrap();
    assert_eq!(reply.flags() & MORE_TO_COME, 0, "one reply to one request");
    Document::try_from(&*reply.document().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_statistics_hold_for_the_exhaust_form() {
    let db = shared::database("exhaust");
    let rules = format!(
        r#"[{{ namespace = "{db}.guarded", deny = "name the items" }},
            {{ namespace = "{db}.capped", command = "find", max_limit = 3 }}]"#
    );
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &[("rewrite.rules", &rules)]);
    let mut direct = Asker::connect(&rs.addresses()[0]).await;
    let documents: Vec<Document> = (0..300).map(|n| doc! {"_id": n}).collect();
    for collection in ["guarded", "capped"] {
        direct
            .ask(&doc! {"insert": collection, "documents": &documents, "$db": &db})
            .await;
    }
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    for command in [
        doc! {"find": "guarded", "$db": &db},
        doc! {"aggregate": "guarded", "pipeline": [], "cursor": {}, "$db": &db},
        doc! {"count": "guarded", "$db": &db},
        doc! {"delete": "guarded", "deletes": [{"q": {}, "limit": 1}], "$db": &db},
    ] {
        let reply = exhaust(&mut client, &command).await;
        let text = reply.get_str("errmsg").unwrap_or_default();
        assert!(text.contains("name the items"), "{command}: {reply}");
    }
    let find = doc! {"find": "capped", "batchSize": 2, "$db": &db};
    let first = exhaust(&mut client, &find).await;
    let id = first.get_document("cursor").unwrap().get_i64("id").unwrap();
    let more = doc! {"getMore": id, "collection": "capped", "$db": &db};
    let rest = exhaust(&mut client, &more).await;
    let rest = rest.get_document("cursor").unwrap();
    assert_eq!(rest.get_array("nextBatch").unwrap().len(), 1, "{rest}");
    let (code, shapes) = crate::parts::proxy::http(proxy.admin(), "GET", "/api/shapes", &[]);
    assert!(
        code == 200 && shapes.contains(&format!("{db}.capped")),
        "{shapes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhaust_cursor_that_its_client_does_not_read_holds_no_link() {
    let rs = shared::rs().await;
    let proxy = Proxy::start(&rs.seed_uri(), &[("upstream.max_links", "1")]);
    let db = shared::database("unread");
    let mut direct = Asker::connect(&rs.addresses()[0]).await;
    // More than all sockets' buffers take: a stream of it would stand still while nobody reads.
    for n in 0..40 {
        let documents = [doc! {"_id": n, "text": "x".repeat(1 << 20)}];
        direct
            .ask(&doc! {"insert": "c", "documents": &documents[..], "$db": &db})
            .await;
    }
    let mut unread = RawClient::connect(proxy.address()).await.unwrap();
    let find = doc! {"find": "c", "batchSize": 1, "$db": &db};
    let first = exhaust(&mut unread, &find).await;
    let id = first.get_document("cursor").unwrap().get_i64("id").unwrap();
    let more = doc! {"getMore": id, "collection": "c", "batchSize": 1, "$db": &db};
    let sections = [Section::Body(encode(&more))];
    unread.send(EXHAUST_ALLOWED, &sections).await.unwrap();
    let mut other = Asker::connect(proxy.address()).await;
    other
        .ask(&doc! {"find": "c", "filter": {"_id": -1}, "$db": &db})
        .await;
}
