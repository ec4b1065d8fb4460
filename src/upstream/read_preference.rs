//! Which server a request may go to ("Server Selection" specification).

use std::sync::Arc;

use super::hello::{Hello, Role};
use super::server::Server;
use crate::wire::doc;

/// `$readPreference.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Primary,
    PrimaryPreferred,
    Secondary,
    SecondaryPreferred,
    Nearest,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadPreference {
    pub mode: Mode,
    /// Tag sets in order of preference, raw documents.
    tag_sets: Vec<Vec<u8>>,
    max_staleness_ms: Option<i64>,
}

impl ReadPreference {
    pub fn primary() -> ReadPreference {
        ReadPreference {
            mode: Mode::Primary,
            tag_sets: Vec::new(),
            max_staleness_ms: None,
        }
    }

    /// Reads `$readPreference`. What can't be understood goes to the primary, whose
    /// own check then answers.
    pub fn parse(document: &[u8]) -> ReadPreference {
        let mode = match doc::find(document, "mode").and_then(|m| m.as_str()) {
            Some("primaryPreferred") => Mode::PrimaryPreferred,
            Some("secondary") => Mode::Secondary,
            Some("secondaryPreferred") => Mode::SecondaryPreferred,
            Some("nearest") => Mode::Nearest,
            _ => return ReadPreference::primary(),
        };
        let tags = doc::find(document, "tags").and_then(|t| t.as_array());
        let tag_sets = tags.into_iter().flat_map(doc::elements).flatten();
        ReadPreference {
            mode,
            tag_sets: tag_sets
                .filter_map(|t| t.as_document().map(<[u8]>::to_vec))
                .collect(),
            max_staleness_ms: doc::find(document, "maxStalenessSeconds")
                .and_then(|s| s.as_i64())
                .filter(|&s| s > 0)
                .map(|s| s.saturating_mul(1000)),
        }
    }

    /// The servers of a replica set that fit, before the latency window.
    pub fn candidates(&self, servers: &[Arc<Server>], heartbeat_ms: i64) -> Vec<Arc<Server>> {
        let with_role = |wanted: Role| -> Vec<(Arc<Server>, Arc<Hello>)> {
            let states = servers.iter().map(|s| (s, s.state().hello.clone()));
            states
                .filter_map(|(s, hello)| {
                    hello
                        .filter(|h| h.role == wanted)
                        .map(|h| (Arc::clone(s), h))
                })
                .collect()
        };
        let primary = with_role(Role::Primary);
        let plain =
            |list: &[(Arc<Server>, Arc<Hello>)]| list.iter().map(|(s, _)| Arc::clone(s)).collect();
        let secondaries =
            || self.fitting(self.fresh(with_role(Role::Secondary), &primary, heartbeat_ms));
        match self.mode {
            Mode::Primary => plain(&primary),
            Mode::PrimaryPreferred if !primary.is_empty() => plain(&primary),
            Mode::PrimaryPreferred | Mode::Secondary => secondaries(),
            Mode::SecondaryPreferred => {
                let found = secondaries();
                if found.is_empty() {
                    plain(&primary)
                } else {
                    found
                }
            }
            Mode::Nearest => {
                let mut all = self.fresh(with_role(Role::Secondary), &primary, heartbeat_ms);
                all.extend(primary.iter().cloned());
                self.fitting(all)
            }
        }
    }

    /// Drops secondaries that are too stale ("Max Staleness" specification).
    fn fresh(
        &self,
        secondaries: Vec<(Arc<Server>, Arc<Hello>)>,
        primary: &[(Arc<Server>, Arc<Hello>)],
        heartbeat_ms: i64,
    ) -> Vec<(Arc<Server>, Arc<Hello>)> {
        let Some(limit) = self.max_staleness_ms else {
            return secondaries;
        };
        let newest = primary
            .first()
            .and_then(|(_, p)| p.last_write_ms)
            .or_else(|| {
                secondaries
                    .iter()
                    .filter_map(|(_, s)| s.last_write_ms)
                    .max()
            });
        let Some(newest) = newest else {
            return secondaries;
        };
        let is_fresh = |hello: &Hello| {
            hello
                .last_write_ms
                .is_some_and(|at| newest.saturating_sub(at) + heartbeat_ms <= limit)
        };
        secondaries
            .into_iter()
            .filter(|(_, hello)| is_fresh(hello))
            .collect()
    }

    /// The servers that have the first tag set which any has; all if no tags are asked for.
    fn fitting(&self, servers: Vec<(Arc<Server>, Arc<Hello>)>) -> Vec<Arc<Server>> {
        let plain = |list: Vec<&(Arc<Server>, Arc<Hello>)>| {
            list.into_iter().map(|(s, _)| Arc::clone(s)).collect()
        };
        if self.tag_sets.is_empty() {
            return plain(servers.iter().collect());
        }
        for set in &self.tag_sets {
            let found: Vec<_> = servers
                .iter()
                .filter(|(_, hello)| has_tags(&hello.tags, set))
                .collect();
            if !found.is_empty() {
                return plain(found);
            }
        }
        Vec::new()
    }
}

fn has_tags(tags: &[u8], wanted: &[u8]) -> bool {
    doc::elements(wanted)
        .all(|w| w.is_ok_and(|w| doc::find(tags, w.key).is_some_and(|t| t.as_str() == w.as_str())))
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use bytes::Bytes;

    use super::super::address::Address;
    use super::super::server::State;
    use super::*;

    fn server(id: u32, hello: Document) -> Arc<Server> {
        let server = Server::new(
            id,
            Address {
                host: "h".into(),
                port: 1 + id as u16,
            },
            1,
        );
        let hello = Hello::read(Bytes::from(hello.to_vec().unwrap())).map(Arc::new);
        server.set_state(State { hello, error: None });
        server
    }

    fn set() -> Vec<Arc<Server>> {
        let date = |s: i64| bson::DateTime::from_millis(s * 1000);
        vec![
            server(
                0,
                doc! {"setName": "r", "isWritablePrimary": true, "lastWrite": {"lastWriteDate": date(1000)}, "ok": 1},
            ),
            server(
                1,
                doc! {"setName": "r", "secondary": true, "tags": {"dc": "x"}, "lastWrite": {"lastWriteDate": date(990)}, "ok": 1},
            ),
            server(
                2,
                doc! {"setName": "r", "secondary": true, "tags": {"dc": "y"}, "lastWrite": {"lastWriteDate": date(500)}, "ok": 1},
            ),
        ]
    }

    fn chosen(preference: Document, servers: &[Arc<Server>]) -> Vec<u32> {
        let preference = ReadPreference::parse(&preference.to_vec().unwrap());
        let mut ids: Vec<u32> = preference
            .candidates(servers, 10_000)
            .iter()
            .map(|s| s.id)
            .collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn modes_choose_by_role() {
        let set = set();
        assert_eq!(chosen(doc! {"mode": "primary"}, &set), [0]);
        assert_eq!(chosen(doc! {"mode": "primaryPreferred"}, &set), [0]);
        assert_eq!(chosen(doc! {"mode": "secondary"}, &set), [1, 2]);
        assert_eq!(chosen(doc! {"mode": "nearest"}, &set), [0, 1, 2]);
        assert_eq!(chosen(doc! {"mode": "secondaryPreferred"}, &set[..1]), [0]);
        assert_eq!(chosen(doc! {"mode": "primaryPreferred"}, &set[1..]), [1, 2]);
    }

    #[test]
    fn the_first_tag_set_that_anybody_has_decides() {
        let set = set();
        let with = |tags: Vec<Document>| chosen(doc! {"mode": "secondary", "tags": tags}, &set);
        assert_eq!(with(vec![doc! {"dc": "y"}]), [2]);
        assert_eq!(with(vec![doc! {"dc": "z"}, doc! {"dc": "x"}]), [1]);
        assert_eq!(with(vec![doc! {"dc": "z"}, doc! {}]), [1, 2]);
        assert!(with(vec![doc! {"dc": "z"}]).is_empty());
    }

    #[test]
    fn stale_secondaries_are_left_out() {
        assert_eq!(
            chosen(
                doc! {"mode": "secondary", "maxStalenessSeconds": 90},
                &set()
            ),
            [1]
        );
    }
}
