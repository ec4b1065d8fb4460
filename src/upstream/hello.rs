//! What a server says of itself.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::address::Address;
use crate::pipeline::{Distance, Writer};
use crate::wire::build::DocBuf;
use crate::wire::doc;

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// No replica set, no router.
    Standalone,
    /// The writable member of a replica set.
    Primary,
    /// A readable member of a replica set.
    Secondary,
    /// A router of a sharded cluster.
    Mongos,
    /// Arbiter, hidden, recovering, not initiated: not to be used.
    Other,
}

/// A hello reply, with the facts that topology needs read out of it.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The whole reply document.
    pub document: Bytes,
    /// What the server is.
    pub role: Role,
    /// `setName`.
    pub set_name: Option<String>,
    /// `hosts`, `passives` and `arbiters`.
    pub members: Vec<Address>,
    /// `me`.
    pub me: Option<Address>,
    /// `electionId` as raw bytes, then `setVersion`: what orders primaries.
    pub election: (Vec<u8>, i64),
    /// `topologyVersion`: the raw document.
    pub topology_version: Option<Vec<u8>>,
    /// `topologyVersion.processId`: changes when the process restarts.
    pub process_id: Option<Vec<u8>>,
    /// `tags`, raw.
    pub tags: Vec<u8>,
    /// `lastWrite.lastWriteDate`, milliseconds since the epoch.
    pub last_write_ms: Option<i64>,
    /// `maxWireVersion`.
    pub max_wire_version: i32,
    /// Release, if the monitor asked for it.
    pub release: Option<[u16; 3]>,
    /// When it came.
    pub read_at: Instant,
}

impl Hello {
    /// Reads a hello reply; `None` if it is an error.
    pub fn read(document: Bytes) -> Option<Hello> {
        let get = |key| doc::find(&document, key);
        let truthy = |key| get(key).is_some_and(|e| e.is_truthy());
        if get("ok")?.as_f64()? != 1.0 {
            return None;
        }
        let text = |key| get(key).and_then(|e| e.as_str()).map(str::to_owned);
        let set_name = text("setName");
        let role = if text("msg").as_deref() == Some("isdbgrid") {
            Role::Mongos
        } else if set_name.is_some() {
            match () {
                () if truthy("hidden") || truthy("arbiterOnly") => Role::Other,
                () if truthy("isWritablePrimary") || truthy("ismaster") => Role::Primary,
                () if truthy("secondary") => Role::Secondary,
                () => Role::Other,
            }
        } else if truthy("isreplicaset") {
            Role::Other
        } else {
            Role::Standalone
        };
        let mut members = Vec::new();
        for list in ["hosts", "passives", "arbiters"] {
            let array = get(list).and_then(|e| e.as_array());
            let items = array.into_iter().flat_map(doc::elements).flatten();
            members.extend(items.filter_map(|e| e.as_str().and_then(Address::parse)));
        }
        let version = get("topologyVersion").and_then(|e| e.as_document());
        let last_write = get("lastWrite").and_then(|e| e.as_document());
        Some(Hello {
            role,
            members,
            me: text("me").and_then(|me| Address::parse(&me)),
            election: (
                get("electionId")
                    .map(|e| e.value.to_vec())
                    .unwrap_or_default(),
                get("setVersion").and_then(|e| e.as_i64()).unwrap_or(-1),
            ),
            process_id: version
                .and_then(|v| doc::find(v, "processId"))
                .map(|p| p.value.to_vec()),
            topology_version: version.map(<[u8]>::to_vec),
            tags: get("tags")
                .and_then(|e| e.as_document())
                .unwrap_or(&EMPTY)
                .to_vec(),
            last_write_ms: last_write
                .and_then(|w| doc::find(w, "lastWriteDate"))
                .and_then(|d| d.value.first_chunk::<8>().map(|b| i64::from_le_bytes(*b))),
            max_wire_version: get("maxWireVersion").and_then(|e| e.as_i32()).unwrap_or(0),
            set_name,
            release: None,
            read_at: Instant::now(),
            document: document.clone(),
        })
    }

    /// What a server says that takes writes, for everybody.
    pub(super) fn writer(&self, distance: Distance) -> Writer {
        let get = |key| doc::find(&self.document, key);
        let number = |key| get(key).and_then(|e| usize::try_from(e.as_i64()?).ok());
        let has_sessions = get("logicalSessionTimeoutMinutes").is_some_and(|e| !e.is_null());
        Writer {
            wire_version: self.max_wire_version,
            release: self.release,
            numbers: self.set_name.is_some() && has_sessions,
            max_documents: number("maxWriteBatchSize").unwrap_or(0),
            max_message: number("maxMessageSizeBytes").unwrap_or(0),
            process: self.process_id.clone(),
            distance,
        }
    }
}

/// The hello that every link of ours begins with. `extra`: raw elements that are
/// relayed for a client (`speculativeAuthenticate`, `saslSupportedMechs`).
pub(super) fn greeting(compressors: &[&str], extra: &[&[u8]]) -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_i32("hello", 1);
    body.append_bool("helloOk", true);
    body.append_doc_with("client", |client| {
        client.append_doc_with("application", |app| {
            app.append_str("name", "petiole");
        });
        client.append_doc_with("driver", |driver| {
            driver.append_str("name", "petiole");
            driver.append_str("version", env!("CARGO_PKG_VERSION"));
        });
        client.append_doc_with("os", |os| {
            os.append_str("type", std::env::consts::OS);
            os.append_str("architecture", std::env::consts::ARCH);
        });
    });
    if !compressors.is_empty() {
        body.append_strs("compression", compressors);
    }
    for element in extra {
        body.append_raw(element);
    }
    body.append_str("$db", "admin");
    body.finish()
}

/// A hello that is answered when something changes, or after `wait`.
pub(super) fn awaitable(topology_version: &[u8], wait: Duration) -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_i32("hello", 1);
    body.append_doc("topologyVersion", topology_version);
    body.append_i64(
        "maxAwaitTimeMS",
        i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
    );
    body.append_str("$db", "admin");
    body.finish()
}

/// A hello that is answered at once.
pub(super) fn plain() -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_i32("hello", 1);
    body.append_str("$db", "admin");
    body.finish()
}

/// The question for the release.
pub(super) fn build_info() -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_i32("buildInfo", 1);
    body.append_str("$db", "admin");
    body.finish()
}

/// The release in the reply; `None` if it isn't there, for whatever reason.
pub(super) fn release_in(reply: &[u8]) -> Option<[u16; 3]> {
    let mut numbers = doc::elements(doc::find(reply, "versionArray")?.as_array()?);
    let mut next = || u16::try_from(numbers.next()?.ok()?.as_i64()?).ok();
    Some([next()?, next()?, next()?])
}

const EMPTY: [u8; 5] = [5, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn read(document: bson::Document) -> Hello {
        Hello::read(Bytes::from(document.to_vec().unwrap())).unwrap()
    }

    #[test]
    fn roles_are_told_apart() {
        let role = |d| read(d).role;
        assert_eq!(
            role(doc! {"isWritablePrimary": true, "ok": 1.0}),
            Role::Standalone
        );
        assert_eq!(
            role(doc! {"msg": "isdbgrid", "isWritablePrimary": true, "ok": 1.0}),
            Role::Mongos
        );
        assert_eq!(
            role(doc! {"setName": "r", "isWritablePrimary": true, "ok": 1.0}),
            Role::Primary
        );
        assert_eq!(
            role(doc! {"setName": "r", "secondary": true, "ok": 1.0}),
            Role::Secondary
        );
        assert_eq!(
            role(doc! {"setName": "r", "secondary": true, "hidden": true, "ok": 1.0}),
            Role::Other
        );
        assert_eq!(role(doc! {"isreplicaset": true, "ok": 1.0}), Role::Other);
        assert!(Hello::read(Bytes::from(doc! {"ok": 0.0}.to_vec().unwrap())).is_none());
    }

    #[test]
    fn the_release_is_in_the_reply_to_build_info_or_unknown() {
        let read = |reply: bson::Document| release_in(&reply.to_vec().unwrap());
        let numbers = doc! {"version": "6.0.27", "versionArray": [6, 0, 27, 0], "ok": 1.0};
        assert_eq!(read(numbers), Some([6, 0, 27]));
        assert_eq!(read(doc! {"ok": 0.0, "code": 13}), None);
        assert_eq!(read(doc! {"versionArray": [6, "0", 27]}), None);
    }

    #[test]
    fn members_come_from_all_three_lists() {
        let hello = read(
            doc! {"setName": "r", "hosts": ["A:1"], "passives": ["b:2"], "arbiters": ["c:3"], "ok": 1},
        );
        let names: Vec<String> = hello.members.iter().map(Address::to_string).collect();
        assert_eq!(names, ["a:1", "b:2", "c:3"]);
    }
}
