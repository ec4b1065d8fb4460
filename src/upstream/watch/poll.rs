//! Asks the primary for its last write.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use tokio::time::{Instant, sleep_until, timeout};

use super::fault::Broken;
use super::{Impossible, default_concern};
use crate::pipeline::{DefaultReads, Horizon, Landed};

/// Cluster times that a primary tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastWrites {
    /// Every write that it has acknowledged is at or before this.
    pub any: u64,
    /// The election by which it became primary, where it says so.
    pub election: Option<[u8; 12]>,
    /// A majority has everything up to here, and nothing will be added before it.
    pub majority: u64,
}

/// Polls for as long as it is let.
pub(super) async fn poll(client: &Client, horizon: &Horizon, landed: &dyn Landed, beat: Duration) {
    let mut due = Instant::now();
    loop {
        let (sent, began) = (horizon.clock().now(), Instant::now());
        if began >= due {
            ask_default(client, horizon, landed).await;
            due = began + horizon.max_lag() / 2;
        }
        // An error needs no handling: what isn't verified goes stale.
        if let Ok(last) = ask(client).await {
            enter_term(horizon, landed, &last);
            horizon.polled(sent, last.any);
        }
        sleep_until(began + beat).await;
    }
}

/// Before the horizon says that anything is fresh: an answer is kept only of a read with read concern local.
async fn ask_default(client: &Client, horizon: &Horizon, landed: &dyn Landed) {
    let Some(stamp) = landed.open_default_reads() else {
        return;
    };
    let asked = horizon.clock().now();
    let local = match timeout(PATIENCE, default_concern::is_local(client)).await {
        Ok(Some(local)) => local,
        // Then the clients are asked.
        _ => return,
    };
    let found = match local {
        true => DefaultReads::Local(asked),
        false => DefaultReads::Weaker(asked),
    };
    landed.note_default_reads(&stamp, found);
}

/// What an earlier primary wrote may have been rolled back, which makes no event. The monitors of the topology void the cache
/// for it too, but this answer may come before theirs (a machine that wakes from sleep), and it's this one that says how fresh
/// the cache is.
pub(super) fn enter_term(horizon: &Horizon, landed: &dyn Landed, last: &LastWrites) {
    if last.election.is_some_and(|e| horizon.enters_term(e)) {
        landed.term_changed();
    }
}

/// Asks once.
pub(super) async fn ask(client: &Client) -> Result<LastWrites, Broken> {
    let admin = client.database("admin");
    let hello = timeout(PATIENCE, admin.run_command(doc! {"hello": 1}))
        .await
        .map_err(|_| Broken::Ended("no answer to hello"))??;
    read(&hello)
}

fn read(hello: &Document) -> Result<LastWrites, Broken> {
    let deployment = |why| Broken::Impossible(Impossible::Deployment(why));
    if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return Err(deployment("the upstream is a mongos"));
    }
    if !hello.contains_key("setName") && !hello.get_bool("isreplicaset").unwrap_or(false) {
        return Err(deployment("the upstream is a standalone"));
    }
    if !hello.get_bool("isWritablePrimary").unwrap_or(false) {
        return Err(Broken::Ended("not the primary"));
    }
    let last = |key| {
        let time = hello
            .get_document("lastWrite")
            .and_then(|last| last.get_document(key))
            .and_then(|op_time| op_time.get_timestamp("ts"));
        time.map(|ts| u64::from(ts.time) << 32 | u64::from(ts.increment))
            .map_err(|_| Broken::Ended("hello tells no last write"))
    };
    Ok(LastWrites {
        any: last("opTime")?,
        majority: last("majorityOpTime")?,
        election: (hello.get_object_id("electionId").ok()).map(|id| id.bytes()),
    })
}

/// How long the primary may take to be found and to answer.
const PATIENCE: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use mongodb::bson::Timestamp;

    use super::*;

    #[test]
    fn only_a_primary_tells_its_last_writes() {
        let at = |time, increment| doc! {"ts": Timestamp {time, increment}, "t": 1_i64};
        let mut hello = doc! {
            "setName": "rs0", "isWritablePrimary": true,
            "lastWrite": {"opTime": at(7, 2), "majorityOpTime": at(6, 1)},
        };
        let last = read(&hello).unwrap();
        assert_eq!((last.any, last.majority), (7 << 32 | 2, 6 << 32 | 1));
        hello.insert("isWritablePrimary", false);
        assert!(matches!(read(&hello), Err(Broken::Ended(_))));
    }

    #[test]
    fn standalones_and_routers_cannot_be_watched() {
        let standalone = doc! {"isWritablePrimary": true};
        let mongos = doc! {"isWritablePrimary": true, "msg": "isdbgrid"};
        for hello in [standalone, mongos] {
            assert!(matches!(read(&hello), Err(Broken::Impossible(_))));
        }
    }
}
