//! Spans of a running proxy, as a collector gets them.

mod collector;

use bson::{Document, doc};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use self::collector::{Collector, Manner, attribute};
use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::{running, shared, wait};
use crate::raw::{RawClient, Section, encode, op_msg};

const NONE: (&str, &str) = ("cache.external_writes", "\"none\"");
const ALL: (&str, &str) = ("traces.share", "1.0");
/// What must not be told.
const SECRET: &str = "nobody-is-to-read-this";

fn proxy(uri: &str, collector: &Collector) -> Proxy {
    let endpoint = collector.endpoint();
    Proxy::start(uri, &[NONE, ALL, ("traces.endpoint", &endpoint)])
}

fn of(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|s| s.kind == kind as i32).collect()
}

fn told(span: &Span, key: &str) -> String {
    attribute(&span.attributes, key).unwrap_or_default()
}

fn decided(span: &Span, decision: &str) -> bool {
    told(span, "petiole.decisions")
        .split(' ')
        .any(|d| d == decision)
}

fn is_part_of(part: &Span, whole: &Span) -> bool {
    part.parent_span_id == whole.span_id
        && part.trace_id == whole.trace_id
        && part.start_time_unix_nano >= whole.start_time_unix_nano
        && part.end_time_unix_nano <= whole.end_time_unix_nano
}

fn find(db: &str) -> Document {
    doc! {"find": "c", "filter": {"_id": 1, "word": SECRET}, "$db": db}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_has_its_exchange_beneath_it_a_hit_has_none_and_no_value_is_told() {
    let rs = shared::rs().await;
    let db = shared::database("traces");
    let collector = Collector::start(Manner::Takes).await;
    let proxy = proxy(&rs.seed_uri(), &collector);
    let mut asker = Asker::connect(proxy.address()).await;
    let insert = doc! {"insert": "c", "documents": [{"_id": 1, "word": SECRET}], "$db": &db};
    asker.ask(&insert).await;
    asker.ask(&find(&db)).await;
    assert!(asker.ask(&find(&db)).await.hit);
    let refused = asker
        .reply(&doc! {"find": "c", "filter": {"$nonsense": SECRET}, "$db": &db})
        .await;
    let code = refused.get_i32("code").expect("an error");
    wait::until("the spans have come", || collector.spans().len() >= 7);

    let spans = collector.spans();
    let requests = of(&spans, SpanKind::Server);
    let outcomes: Vec<String> = requests
        .iter()
        .map(|span| format!("{} {}", span.name, told(span, "petiole.outcome")))
        .collect();
    let expected = ["insert c pass", "find c miss", "find c hit", "find c miss"];
    assert_eq!(outcomes, expected);
    for span in &requests {
        assert_eq!(told(span, "db.system.name"), "mongodb");
        assert_eq!(told(span, "db.namespace"), db);
        assert_eq!(told(span, "db.collection.name"), "c");
    }
    let exchanges = of(&spans, SpanKind::Client);
    let [insert, miss, hit, error] = requests[..] else {
        panic!("{spans:?}");
    };
    for whole in [insert, miss, error] {
        let parts: Vec<_> = exchanges.iter().filter(|p| is_part_of(p, whole)).collect();
        assert_eq!(parts.len(), 1, "{whole:?} of {exchanges:?}");
        assert_eq!(told(parts[0], "server.address"), "127.0.0.1");
        let port = rs.addresses()[0].rsplit(':').next().unwrap().to_owned();
        assert_eq!(told(parts[0], "server.port"), port);
        let share: f64 = told(whole, "petiole.server_share").parse().unwrap();
        assert!(share > 0.0 && share <= 1.0, "{share}");
    }
    assert!(decided(miss, "stored") && decided(hit, "hit"));
    assert_eq!(told(hit, "petiole.server_share"), "0");
    assert!(!exchanges.iter().any(|part| is_part_of(part, hit)));
    assert_eq!(told(error, "db.response.status_code"), code.to_string());
    assert!(!collector.has_seen(SECRET.as_bytes()));
    let resource = collector.resource();
    assert_eq!(
        attribute(&resource, "service.name").as_deref(),
        Some("petiole")
    );
    let waits = || proxy.count("/traces/sent") as usize == collector.spans().len();
    wait::until("what was sent is counted", waits);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_users_nor_roles_are_named() {
    let rs = shared::rs().await;
    let db = shared::database("traces");
    let collector = Collector::start(Manner::Takes).await;
    let proxy = proxy(&rs.seed_uri(), &collector);
    let mut asker = Asker::connect(proxy.address()).await;
    for command in [
        doc! {"createUser": SECRET, "pwd": SECRET, "roles": []},
        doc! {"usersInfo": SECRET},
        doc! {"createRole": SECRET, "privileges": [], "roles": []},
        doc! {"dropRole": SECRET},
        doc! {"dropUser": SECRET},
        doc! {"unheardOf": SECRET},
    ] {
        let mut command = command;
        command.insert("$db", &db);
        asker.reply(&command).await;
    }
    let requests = || of(&collector.spans(), SpanKind::Server).len();
    wait::until("the spans have come", || requests() >= 6);
    let names: Vec<String> = collector.spans().iter().map(|s| s.name.clone()).collect();
    assert!(names.contains(&format!("createUser {db}")), "{names:?}");
    assert!(!collector.has_seen(SECRET.as_bytes()), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_client_has_left_is_told() {
    let rs = shared::rs().await;
    let db = shared::database("traces");
    let collector = Collector::start(Manner::Takes).await;
    let proxy = proxy(&rs.seed_uri(), &collector);
    let insert = doc! {"insert": "c", "documents": [{"_id": 1}], "$db": &db};
    Asker::connect(proxy.address()).await.ask(&insert).await;
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    let slow = doc! {"find": "c", "filter": {"$where": "sleep(20000) || true"}, "$db": &db};
    let body = Section::Body(encode(&slow));
    let id = client.id();
    client.send_bytes(&op_msg(id, 0, &[body])).await.unwrap();
    running::until_running(&rs.addresses()[0], &format!("{db}.c")).await;
    drop(client);
    let left = || {
        let spans = collector.spans();
        let whole = of(&spans, SpanKind::Server);
        whole
            .into_iter()
            .any(|span| told(span, "error.type") == "client_gone")
    };
    wait::until("it is told", left);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_left_in_a_batch_has_the_batchs_exchange() {
    let rs = shared::rs().await;
    let db = shared::database("traces");
    let collector = Collector::start(Manner::Takes).await;
    let proxy = proxy(&rs.seed_uri(), &collector);
    let batched = || {
        let spans = collector.spans();
        let exchanges = of(&spans, SpanKind::Client);
        let parts = |whole: &Span| exchanges.iter().filter(|p| is_part_of(p, whole)).count();
        let requests = of(&spans, SpanKind::Server);
        let mut batched = requests.iter().filter(|span| decided(span, "batched"));
        batched.any(|span| parts(span) == 1)
    };
    let deadline = std::time::Instant::now() + wait::PATIENCE;
    let mut next = 0;
    while !batched() {
        assert!(std::time::Instant::now() < deadline, "nothing was batched");
        let mut writers = Vec::new();
        for _ in 0..8 {
            next += 100;
            let (address, db) = (proxy.address().to_owned(), db.clone());
            writers.push(tokio::spawn(async move {
                let mut asker = Asker::connect(&address).await;
                for id in next..next + 20 {
                    let insert = doc! {"insert": "c", "documents": [{"_id": id}], "$db": &db};
                    asker.ask(&insert).await;
                }
            }));
        }
        for writer in writers {
            writer.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn off_there_is_no_exporter_and_a_share_of_nothing_connects_to_nobody() {
    let rs = shared::rs().await;
    let db = shared::database("traces");
    let collector = Collector::start(Manner::Takes).await;
    let endpoint = collector.endpoint();
    let off = Proxy::start(&rs.seed_uri(), &[NONE, ALL]);
    let nothing = Proxy::start(
        &rs.seed_uri(),
        &[
            NONE,
            ("traces.endpoint", &endpoint),
            ("traces.share", "0.0"),
        ],
    );
    for proxy in [&off, &nothing] {
        let mut asker = Asker::connect(proxy.address()).await;
        for _ in 0..100 {
            asker.ask(&find(&db)).await;
        }
    }
    // (At its end there would be none anyway.)
    assert_eq!(exporters(&off), 0);
    for mut proxy in [off, nothing] {
        proxy.signal("TERM");
        wait::until("it ends", || proxy.ended().is_some());
    }
    assert_eq!(collector.connections(), 0);
}

/// Threads of the SDK's.
fn exporters(proxy: &Proxy) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", proxy.pid())).expect("it runs");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.ok()?.path().join("comm");
        std::fs::read_to_string(path).ok()
    };
    let names = tasks.filter_map(name);
    names
        .filter(|name| name.starts_with("OpenTelemetry"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_waiting_at_the_end_is_sent() {
    let rs = shared::rs().await;
    let db = shared::database("traces");
    let collector = Collector::start(Manner::Takes).await;
    let mut proxy = proxy(&rs.seed_uri(), &collector);
    let mut asker = Asker::connect(proxy.address()).await;
    for _ in 0..50 {
        asker.ask(&find(&db)).await;
    }
    proxy.signal("TERM");
    wait::until("it ends", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success(), "{}", proxy.log());
    let spans = collector.spans();
    assert_eq!(of(&spans, SpanKind::Server).len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_spans_which_are_counted_and_nothing_else() {
    let rs = shared::rs().await;
    let db = shared::database("traces");
    let collector = Collector::start(Manner::Hangs).await;
    let mut proxy = proxy(&rs.seed_uri(), &collector);
    let mut asker = Asker::connect(proxy.address()).await;
    let mut asked = 0;
    while proxy.count("/traces/dropped") == 0 {
        for _ in 0..500 {
            asker.ask(&find(&db)).await;
        }
        asked += 500;
        assert!(asked < 20_000, "{}", proxy.status()["traces"]);
    }
    let traces = proxy.status()["traces"].clone();
    assert_eq!(traces["sent"], 0, "{traces}");
    assert!(traces["waiting"].as_u64() <= Some(2048), "{traces}");
    let complaint = || proxy.log().contains("the collector takes no spans");
    wait::until("the log says so", complaint);
    // Nor does it hold up the end.
    proxy.signal("TERM");
    wait::until("it ends", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success(), "{}", proxy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_is_complained_of_once() {
    let rs = shared::rs().await;
    let db = shared::database("traces");
    let nobody = petiole::embedded::free_ports(1).expect("a free port")[0];
    let endpoint = format!("\"http://127.0.0.1:{nobody}\"");
    let proxy = Proxy::start(&rs.seed_uri(), &[NONE, ALL, ("traces.endpoint", &endpoint)]);
    let mut asker = Asker::connect(proxy.address()).await;
    for round in 1..=2 {
        asker.ask(&find(&db)).await;
        wait::until("they count as failed", || {
            proxy.count("/traces/failed") >= round
        });
    }
    let log = proxy.log();
    assert_eq!(log.matches("takes no spans").count(), 1, "{log}");
}
