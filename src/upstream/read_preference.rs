//! Which server a request may go to ("Server Selection" specification).

use std::sync::Arc;

use tokio::time::Instant;

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

    /// Reads `$readPreference`. What can't be understood, or is refused by a server, goes to the
    /// primary, whose own check then answers.
    pub fn parse(document: &[u8]) -> ReadPreference {
        let mode = match doc::find(document, "mode").and_then(|m| m.as_str()) {
            Some("primaryPreferred") => Mode::PrimaryPreferred,
            Some("secondary") => Mode::Secondary,
            Some("secondaryPreferred") => Mode::SecondaryPreferred,
            Some("nearest") => Mode::Nearest,
            _ => return ReadPreference::primary(),
        };
        let staleness = doc::find(document, "maxStalenessSeconds").and_then(|s| s.as_i64());
        // (-1 and 0 mean: none is too much.)
        let max_staleness_s = staleness.filter(|&s| s > 0);
        if max_staleness_s.is_some_and(|s| s < LEAST_STALENESS_S) {
            return ReadPreference::primary();
        }
        let tags = doc::find(document, "tags").and_then(|t| t.as_array());
        let tag_sets = tags.into_iter().flat_map(doc::elements).flatten();
        ReadPreference {
            mode,
            tag_sets: tag_sets
                .filter_map(|t| t.as_document().map(<[u8]>::to_vec))
                .collect(),
            max_staleness_ms: max_staleness_s.map(|s| s.saturating_mul(1000)),
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
        // What a primary that was looked at at that moment had written last; without a primary, the
        // newest that any secondary has.
        let newest_of = |list: &[(Arc<Server>, Arc<Hello>)]| {
            list.iter().filter_map(|(_, s)| s.last_write_ms).max()
        };
        let primary = primary.first().map(|(_, p)| p);
        let Some(newest) = (match primary {
            Some(primary) => primary.last_write_ms,
            None => newest_of(&secondaries),
        }) else {
            return secondaries;
        };
        let is_fresh = |hello: &Hello| {
            let later = primary.map_or(0, |p| later_ms(hello.read_at, p.read_at));
            hello.last_write_ms.is_some_and(|at| {
                let behind = newest.saturating_add(later).saturating_sub(at);
                behind.saturating_add(heartbeat_ms) <= limit
            })
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

/// How much later `this` was than `that`; negative if it was earlier.
fn later_ms(this: Instant, that: Instant) -> i64 {
    let forward = this.saturating_duration_since(that).as_millis() as i64;
    forward - that.saturating_duration_since(this).as_millis() as i64
}

/// "smallestMaxStalenessSeconds".
const LEAST_STALENESS_S: i64 = 90;

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

    #[test]
    fn a_staleness_that_servers_refuse_goes_to_the_primary() {
        let with = |seconds: i32| {
            chosen(
                doc! {"mode": "secondary", "maxStalenessSeconds": seconds},
                &set(),
            )
        };
        assert_eq!(with(89), [0]);
        assert_eq!(with(-1), [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn how_far_behind_a_member_is_counts_from_when_each_was_looked_at() {
        let member = |id, role: &str, written_s: i64| {
            let date = bson::DateTime::from_millis(written_s * 1000);
            let mut hello = doc! {"setName": "r", "lastWrite": {"lastWriteDate": date}, "ok": 1};
            hello.insert(role, true);
            server(id, hello)
        };
        let primary = member(0, "isWritablePrimary", 1000);
        tokio::time::advance(std::time::Duration::from_secs(30)).await;
        let set = [
            primary,
            member(1, "secondary", 950),
            member(2, "secondary", 949),
        ];
        // 50 and 51 s behind then, 30 s of writes since, and 10 s until the next look.
        let preference = doc! {"mode": "secondary", "maxStalenessSeconds": 90};
        assert_eq!(chosen(preference, &set), [1]);
    }
}
