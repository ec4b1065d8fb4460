//! A replica set of three whose members fail under load, seen by applications that don't retry: once
//! through the proxy, once with the driver connected directly, and once directly with the driver's
//! own retries. `cargo test --test it failover -- --nocapture` prints what each of them saw.

mod load;
mod users;

use std::io::Write;
use std::time::Duration;

use petiole::embedded::{Deployment, MongodOptions, Signal};
use serde_json::Value;

use self::load::Load;
use crate::parts::proxy::Proxy;

const PATIENCE: Duration = Duration::from_secs(60);
/// Much more than the two seconds that it takes on a machine of one's own.
const BOUND_S: f64 = 8.0;
/// Beside the other tests a set may take long to elect.
const LONG_WAIT: (&str, &str) = ("upstream.failover_wait", "\"60s\"");

async fn start(options: MongodOptions) -> Deployment {
    let options = MongodOptions {
        // Beside the other tests a member may take long to catch up.
        start_timeout: PATIENCE * 3,
        ..options
    };
    Deployment::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_without_retries_do_not_notice_how_members_fail() {
    let deployment = start(MongodOptions::replica_set(3)).await;
    let proxy = Proxy::start(&deployment.seed_uri(), &[LONG_WAIT]);
    let mut load = load(&deployment, &proxy);
    for fault in [Fault::StepDown, Fault::Kill, Fault::Freeze, Fault::Rolling] {
        fault.happen(&deployment).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let report = load.end();
    print_table(&report);
    let seen = &report["clients"]["proxy"];
    assert_eq!(seen["wrong"], serde_json::json!([]), "{report}");
    assert!(
        report["elections"].as_u64() >= Some(4),
        "every fault led to an election: {report}"
    );
    for kind in ["read_after_s", "write_after_s", "write_alone_after_s"] {
        for after in seen[kind].as_array().unwrap() {
            let after = after.as_f64().expect("they went on");
            assert!(after < BOUND_S, "{kind} {after}: {report}");
        }
    }
    assert_eq!(
        seen["errors"],
        serde_json::json!({}),
        "{report}\n{}",
        proxy.log()
    );
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    StepDown,
    Kill,
    Freeze,
    Rolling,
}

impl Fault {
    /// Does it, and waits until the set is whole again.
    async fn happen(self, deployment: &Deployment) {
        let primary = deployment.wait_for_primary(PATIENCE).await.unwrap();
        match self {
            Fault::StepDown => deployment.step_down(Duration::from_secs(5)).await.unwrap(),
            Fault::Kill => {
                deployment.kill(primary).unwrap();
                deployment.wait_for_primary(PATIENCE).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
                deployment.restart(primary).await.unwrap();
            }
            Fault::Freeze => {
                deployment.signal(primary, Signal::Stop).unwrap();
                deployment.wait_for_primary(PATIENCE).await.unwrap();
                tokio::time::sleep(Duration::from_secs(3)).await;
                deployment.signal(primary, Signal::Cont).unwrap();
            }
            Fault::Rolling => {
                for member in 0..3 {
                    deployment.signal(member, Signal::Term).unwrap();
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    deployment.restart(member).await.unwrap();
                    deployment.wait_for_primary(PATIENCE).await.unwrap();
                }
            }
        }
        deployment.wait_for_primary(PATIENCE).await.unwrap();
    }
}

/// Clients of the proxy and of the set itself.
fn load(deployment: &Deployment, proxy: &Proxy) -> Load {
    let members = deployment.addresses().join(",");
    let direct = format!("mongodb://{members}/?replicaSet=rs0");
    let through = format!("proxy={}", proxy.uri());
    let directly = format!("direct={direct}");
    let retrying = format!("direct_retry={direct};retry");
    Load::start("failover.py", &[&members, &through, &directly, &retrying])
}

fn print_table(report: &Value) {
    let mut out = std::io::stdout().lock();
    let longest = |list: &Value| {
        let all = list.as_array().into_iter().flatten();
        all.filter_map(Value::as_f64).fold(0.0, f64::max)
    };
    let errors = |list: &Value| {
        let all = list.as_object().into_iter().flatten();
        all.filter_map(|(_, n)| n.as_u64()).sum::<u64>()
    };
    let _ = writeln!(out, "{} elections", report["elections"]);
    let _ = writeln!(
        out,
        "{:<14}{:>8}{:>8}{:>8}{:>8}{:>16}{:>17}{:>17}{:>11}",
        "client",
        "reads",
        "writes",
        "errors",
        "wrong",
        "read after s",
        "w:1, j after s",
        "majority after s",
        "slowest s"
    );
    for (name, seen) in report["clients"].as_object().into_iter().flatten() {
        let _ = writeln!(
            out,
            "{name:<14}{:>8}{:>8}{:>8}{:>8}{:>16.2}{:>17.2}{:>17.2}{:>11.2}",
            seen["reads"].as_u64().unwrap_or(0),
            seen["writes"].as_u64().unwrap_or(0),
            errors(&seen["errors"]),
            seen["wrong"].as_array().map_or(0, Vec::len),
            longest(&seen["read_after_s"]),
            longest(&seen["write_alone_after_s"]),
            longest(&seen["write_after_s"]),
            seen["slowest_s"].as_f64().unwrap_or(0.0),
        );
    }
}
