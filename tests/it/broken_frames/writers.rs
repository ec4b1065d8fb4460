//! Clients that are slow, stalled, gone, or speak something else.

use std::time::{Duration, Instant};

use bson::doc;

use super::{Answer, CLOSED, assert_grew_little, fate_half_closed, ping, ping_document, proxy};
use crate::parts::shared;
use crate::parts::wait::until;
use crate::raw::{
    CHECKSUM_PRESENT, Compressor, HEADER_LEN, MORE_TO_COME, OP_MSG, RawClient, Section, encode,
    header, op_compressed, op_msg, op_query,
};

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_are_turned_away() {
    let (proxy, bystander) = proxy(&[("server.frame_timeout", "300ms")]).await;
    // As a length this is 33 MB, so only the time limit can end it.
    let mut client_hello = vec![
        0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03,
    ];
    client_hello.extend(std::iter::repeat_n(0x5a, 506));
    let http = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    for hello in [
        client_hello,
        http,
        b"\n".to_vec(),
        b"SSH-2.0-x\r\n".to_vec(),
    ] {
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        client.send_bytes(&hello).await.unwrap();
        assert_eq!(client.read_to_close().await.unwrap(), b"");
    }
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_may_come_byte_by_byte() {
    let (proxy, bystander) = proxy(&[]).await;
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    let find = doc! { "find": "nothing", "$db": shared::database("slow") };
    let plain = op_msg(11, CHECKSUM_PRESENT, &[Section::Body(encode(&find))]);
    let snappy = op_compressed(
        &op_msg(12, 0, &[Section::Body(encode(&find))]),
        Compressor::Snappy,
    );
    let query = op_query(13, "admin.$cmd", &encode(&doc! { "isMaster": 1 }));
    for (id, bytes) in [(11, &plain), (12, &snappy), (13, &query)] {
        client.send_bytewise(bytes).await.unwrap();
        let reply = client.receive().await.unwrap();
        assert_eq!(reply.response_to, id);
        assert_eq!(reply.document().unwrap().get_f64("ok").unwrap(), 1.0);
    }
    // Several messages in one segment, the last one cut.
    let (head, tail) = plain.split_at(20);
    client
        .send_bytes(&[&ping(21), &ping(22), head].concat())
        .await
        .unwrap();
    assert_eq!(client.receive().await.unwrap().response_to, 21);
    assert_eq!(client.receive().await.unwrap().response_to, 22);
    client.send_bytes(tail).await.unwrap();
    assert_eq!(client.receive().await.unwrap().response_to, 11);
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_message_is_given_up_and_an_idle_client_is_not() {
    let (proxy, bystander) = proxy(&[("server.frame_timeout", "300ms")]).await;
    let mut idle = RawClient::connect(proxy.address()).await.unwrap();
    idle.command(&doc! { "ping": 1, "$db": "admin" })
        .await
        .unwrap();
    for sent in [
        1,
        4,
        HEADER_LEN - 1,
        HEADER_LEN,
        HEADER_LEN + 7,
        ping(1).len() - 1,
    ] {
        let begun = Instant::now();
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        client.send_bytes(&ping(1)[..sent]).await.unwrap();
        assert_eq!(
            client.read_to_close().await.unwrap(),
            b"",
            "after {sent} bytes"
        );
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_millis(290),
            "given up after {waited:?}"
        );
    }
    idle.command(&doc! { "ping": 1, "$db": "admin" })
        .await
        .unwrap();
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_socket_still_gets_its_replies() {
    let (proxy, bystander) = proxy(&[]).await;
    assert_eq!(fate_half_closed(&proxy, &ping(1)).await, [Answer::Ok(1)]);
    assert_eq!(
        fate_half_closed(&proxy, &[ping(1), ping(2)].concat()).await,
        [Answer::Ok(1), Answer::Ok(2)]
    );
    let unacknowledged = op_msg(1, MORE_TO_COME, &[Section::Body(ping_document())]);
    assert_eq!(
        fate_half_closed(&proxy, &[unacknowledged, ping(2)].concat()).await,
        [Answer::Ok(2)]
    );
    assert_eq!(fate_half_closed(&proxy, &ping(1)[..30]).await, CLOSED);
    assert_eq!(fate_half_closed(&proxy, &[]).await, CLOSED);
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_vanish_harm_nobody() {
    let (proxy, bystander) = proxy(&[]).await;
    let database = shared::database("vanish");
    for n in 0..100 {
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        let insert = doc! { "insert": "v", "documents": [{ "_id": n }], "$db": database.as_str() };
        let bytes = op_msg(1, 0, &[Section::Body(encode(&insert))]);
        let sent = if n % 2 == 0 {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        client.send_bytes(&bytes[..sent]).await.unwrap();
    }
    until("the proxy has forgotten them", || {
        proxy.count("/pool/clients") <= 1
    });
    bystander.was_undisturbed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_huge_messages_cost_nothing() {
    let (proxy, bystander) = proxy(&[]).await;
    let before = proxy.rss();
    let mut stalled = Vec::new();
    for n in 0..200 {
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        let mut bytes = header(47_999_999, 1, 0, OP_MSG).to_vec();
        bytes.extend(std::iter::repeat_n(0, n * 16));
        client.send_bytes(&bytes).await.unwrap();
        stalled.push(client);
    }
    until("all of them are connected", || {
        proxy.count("/pool/clients") > 200
    });
    assert_grew_little(&proxy, before);
    bystander.was_undisturbed(&proxy).await;
    assert_grew_little(&proxy, before);
    drop(stalled);
}
