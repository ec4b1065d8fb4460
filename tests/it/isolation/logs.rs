//! What a log shows of clients: neither lines nor control characters of theirs, and few lines however often they fail.

use bson::{Document, doc};

use crate::parts::proxy::Proxy;
use crate::parts::{shared, wait};
use crate::raw::{OP_MSG, RawClient, message};

#[tokio::test(flavor = "multi_thread")]
async fn names_that_clients_choose_forge_nothing_in_the_log() {
    const EVIL: &str = "c\n2026-01-01T00:00:00Z  WARN petiole: FORGED \u{1b}[31m\r\u{7}\u{202e}";
    let upstream = shared::standalone().await;
    for format in ["text", "json"] {
        let sets = [
            ("profile.slow_threshold", "1ms"),
            ("profile.slow_values", "true"),
            ("log.format", format),
            ("rewrite.enabled", "false"),
        ];
        let proxy = Proxy::start(&upstream.uri(), &sets);
        let slow = || doc! {"$where": "sleep(30) || true", format!("f{EVIL}"): null};
        let db = shared::database("forged");
        let client = doc! {"application": {"name": EVIL}, "driver": {"name": EVIL, "version": EVIL},
        "os": {"type": EVIL}};
        let commands: [Document; 6] = [
            doc! {"hello": 1, "client": client, "$db": "admin"},
            doc! {"insert": EVIL, "documents": [{"a": 1}], "$db": &db},
            doc! {"find": EVIL, "filter": slow(), "$db": &db},
            doc! {"find": "c", "filter": slow(), "$db": format!("x{EVIL}")},
            doc! {EVIL: 1, "$db": "admin"},
            doc! {"saslStart": 1, "mechanism": EVIL, "payload": EVIL, "$db": EVIL},
        ];
        let mut raw = RawClient::connect(proxy.address()).await.unwrap();
        for command in commands {
            // (Some are refused, which is all right.)
            let _ = raw.command(&command).await;
        }
        wait::until("slow requests are logged", || {
            proxy.log().contains("slow request")
        });
        let log = proxy.log();
        let forged = |line: &&str| line.starts_with("2026-01-01");
        assert_eq!(log.lines().find(forged), None, "{log}");
        let special = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
        assert_eq!(log.chars().find(special), None, "{log:?}");
        assert!(log.contains("FORGED"), "the names are in the log: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_over_and_over_makes_one_line_and_then_a_count() {
    let proxy = Proxy::start(&shared::standalone().await.uri(), &[]);
    const BROKEN: u64 = 200;
    for _ in 0..BROKEN {
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        client
            .send_bytes(&message(1, OP_MSG, &[0xff; 9]))
            .await
            .unwrap();
        // It is closed.
        client.receive().await.unwrap_err();
    }
    assert_eq!(proxy.count("/clients/complaints/broken_message"), BROKEN);
    let lines = |proxy: &Proxy| -> Vec<String> {
        let log = proxy.log();
        let lines = log
            .lines()
            .filter(|l| l.contains("kind=\"broken_message\""));
        lines.map(str::to_owned).collect()
    };
    let first = lines(&proxy);
    assert!(first[0].contains("a message can't be read"), "{first:?}");
    assert!(first[0].contains("address=127.0.0.1:"), "{first:?}");
    // (Where this takes longer than an interval the counts are of several.)
    wait::until("the rest is counted", || {
        let counts = lines(&proxy).into_iter().filter_map(|line| {
            let count = line.split_once("count=")?.1.split(' ').next()?.to_owned();
            count.parse::<u64>().ok()
        });
        let rest = BROKEN - 1;
        counts.sum::<u64>() == rest
    });
    assert!(lines(&proxy).len() < 10, "{:?}", lines(&proxy));
}
