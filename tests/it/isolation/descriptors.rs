//! File descriptors: clients and HTTP requests that do nothing use up only so many, and one client too many is told so.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bson::{Document, doc};

use crate::parts::proxy::{Proxy, http};
use crate::parts::{shared, wait};
use crate::raw::{RawClient, Section, encode, op_msg, op_query};

async fn ping(client: &mut RawClient) -> Document {
    let reply = client.command(&doc! {"ping": 1, "$db": "admin"}).await;
    Document::try_from(&*reply.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_too_many_is_told_so_and_another_is_served_once_one_has_left() {
    let sets = [("server.max_clients", "2")];
    let proxy = Proxy::start(&shared::standalone().await.uri(), &sets);
    let mut served = Vec::new();
    for _ in 0..2 {
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        assert_eq!(ping(&mut client).await.get_f64("ok").unwrap(), 1.0);
        served.push(client);
    }
    let hello = encode(&doc! {"hello": 1, "$db": "admin"});
    for first in [
        op_msg(7, 0, &[Section::Body(hello.clone())]),
        op_query(7, "admin.$cmd", &hello),
    ] {
        let mut refused = RawClient::connect(proxy.address()).await.unwrap();
        refused.send_bytes(&first).await.unwrap();
        let reply = refused.receive().await.unwrap();
        assert_eq!(reply.response_to, 7);
        let reply = Document::try_from(&*reply.document().unwrap()).unwrap();
        assert_eq!(reply.get_i32("code").ok(), Some(462), "{reply}");
        let text = reply.get_str("errmsg").unwrap();
        assert!(text.contains("server.max_clients"), "{reply}");
        refused.receive().await.unwrap_err();
    }
    assert_eq!(proxy.count("/clients/refused"), 2);
    served.pop();
    wait::until("one has left", || proxy.count("/clients/open") == 1);
    let mut next = RawClient::connect(proxy.address()).await.unwrap();
    assert_eq!(ping(&mut next).await.get_f64("ok").unwrap(), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_descriptors_are_few_accepted_clients_are_served_all_the_same() {
    let upstream = shared::standalone().await;
    let proxy = Proxy::start_limited("-n 256", &upstream.uri(), &[("upstream.max_links", "8")]);
    let limit = proxy.count("/clients/limit");
    assert!((8..256).contains(&limit), "{limit}");
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(RawClient::connect(proxy.address()).await.unwrap());
    }
    wait::until("the others are refused", || {
        proxy.count("/clients/refused") == 300 - limit
    });
    assert_eq!(proxy.count("/clients/open"), limit);
    for client in &mut clients[..limit as usize] {
        assert_eq!(ping(client).await.get_f64("ok").unwrap(), 1.0);
    }
    let log = proxy.log();
    let warned = log.contains("too few files for server.max_clients");
    assert!(warned && !log.contains("accept_failed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_for_whom_there_is_no_descriptor_is_closed_rather_than_left_waiting() {
    let upstream = shared::standalone().await;
    let proxy = Proxy::start_limited("-n 64", &upstream.uri(), &[("server.threads", "1")]);
    let half = half_sent(&proxy, 60);
    let mut refused = 0;
    for _ in 0..16 {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        refused += u32::from(matches!(client.read(&mut [0]), Ok(0)));
    }
    assert!(refused > 0, "{}", proxy.log());
    drop(half);
    assert!(
        proxy.log().contains("kind=\"accept_failed\""),
        "{}",
        proxy.log()
    );
    wait::until_async("clients are served again", || async {
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        let reply = client.command(&doc! {"ping": 1, "$db": "admin"}).await;
        reply.is_ok_and(|reply| reply.get_f64("ok").is_ok_and(|ok| ok == 1.0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_open_files_is_raised_at_the_start() {
    let upstream = shared::standalone().await;
    let proxy = Proxy::start_limited("-Sn 128", &upstream.uri(), &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<&str> = line.unwrap().split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{limits}");
}

/// So many HTTP requests that are begun and not ended.
fn half_sent(proxy: &Proxy, count: usize) -> Vec<TcpStream> {
    let begin = |_| {
        let mut socket = TcpStream::connect(proxy.admin()).unwrap();
        let _ = socket.write_all(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nX: ");
        socket
    };
    (0..count).map(begin).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn http_requests_that_are_not_ended_are_few_and_end_while_others_are_answered() {
    let proxy = Proxy::start(&shared::standalone().await.uri(), &[]);
    let half = half_sent(&proxy, 300);
    for path in ["/health", "/metrics", "/api/status"] {
        assert_eq!(http(proxy.admin(), "GET", path, &[]).0, 200, "{path}");
    }
    let inode = |name: &std::fs::DirEntry| std::fs::read_link(name.path()).ok();
    let sockets = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid())).unwrap();
    let sockets = sockets.flatten().filter_map(|fd| inode(&fd));
    let sockets = sockets.filter(|to| to.to_string_lossy().starts_with("socket:"));
    let sockets = sockets.count();
    assert!(sockets < 120, "{sockets} sockets");
    // Those that are left end by themselves, though nothing more comes.
    for mut socket in half {
        socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let mut rest = Vec::new();
        let ended = socket.read_to_end(&mut rest);
        let is_reset = |e: std::io::Error| e.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(ended.is_ok() || ended.is_err_and(is_reset));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_looks_after_every_connection_whose_peer_is_silent() {
    let proxy = Proxy::start(&shared::standalone().await.uri(), &[]);
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    ping(&mut client).await;
    let _half = half_sent(&proxy, 1);
    wait::until("all is quiet", || {
        let timers = timers(proxy.pid());
        // The client's, a link's, the HTTP side's, and those of monitors and the watch.
        timers.len() >= 4 && timers.iter().all(|timer| timer == "02")
    });
}

/// The timers of a process's established connections, as the kernel shows them: 02 is keep-alive.
fn timers(pid: u32) -> Vec<String> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let inodes: Vec<String> = fds
        .flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .filter_map(|to| {
            let to = to.to_str()?.strip_prefix("socket:[")?;
            Some(to.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let rows = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    const ESTABLISHED: &str = "01";
    rows.filter(|row| row[3] == ESTABLISHED && inodes.iter().any(|inode| inode == row[9]))
        .map(|row| row[5].split(':').next().unwrap().to_owned())
        .collect()
}
