//! Databases in which the server's profiler records every operation (`system.profile`).
//!
//! A client that has switched the profiler to level 2 wants to see each of its operations there, as it sent it: a test that counts
//! queries, an operator with a question. A read from memory, a write in a batch or a rewritten filter would be missing there, or
//! stand there in another form. So what such a database is asked goes on as it came. A profiler that records slow operations
//! only (level 1, or a filter on `millis`) changes nothing: what the proxy answers by itself isn't slow.
//!
//! Only what a `profile` command through this proxy said is known. The server asks for rights before it executes one, and a
//! refused one says nothing here. The level belongs to one process of the server: another one, after a restart or an
//! election, begins with its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::RwLock;

use super::upstream_facts::UpstreamFacts;
use crate::command::{Command, Kind};
use crate::wire::doc::{self, Element};

/// See the module. Shared by all parts of one proxy.
#[derive(Debug, Default)]
pub struct Profiler {
    /// Whether there is any database at all: usually there is none, and requests pay for one load.
    any: AtomicBool,
    /// The databases, each with the process that records there.
    databases: RwLock<HashMap<String, Option<Vec<u8>>>>,
    facts: Arc<UpstreamFacts>,
}

impl Profiler {
    /// None is known. `facts` tell one process of the server from the next.
    #[must_use]
    pub fn new(facts: Arc<UpstreamFacts>) -> Profiler {
        Profiler {
            facts,
            ..Profiler::default()
        }
    }

    /// Whether the server is known to record every operation in the database that a command is about.
    #[inline]
    #[must_use]
    pub fn records(&self, command: &Command) -> bool {
        self.any.load(Relaxed) && self.is_recorded(command.db())
    }

    #[cold]
    fn is_recorded(&self, db: &str) -> bool {
        let databases = self.databases.read();
        databases
            .get(db)
            .is_some_and(|process| *process == self.process())
    }

    /// Learns from the reply to a `profile` command that was carried out.
    pub(super) fn note(&self, command: &Command, reply: &[u8]) {
        let records = records_all(command.body(), reply);
        let mut databases = self.databases.write();
        if records {
            if databases.len() < MOST || databases.contains_key(command.db()) {
                databases.insert(command.db().to_owned(), self.process());
            }
        } else {
            databases.remove(command.db());
        }
        self.any.store(!databases.is_empty(), Relaxed);
    }

    fn process(&self) -> Option<Vec<u8>> {
        let facts = self.facts.get();
        facts
            .writer
            .as_ref()
            .and_then(|writer| writer.process.clone())
    }
}

/// Whether a command is one that [`Profiler::note`] learns from.
pub(super) fn sets_profiler(command: &Command) -> bool {
    command.kind == Kind::Upkeep && command.name() == "profile"
}

/// Whether every operation is recorded from now on, by a `profile` command and its reply. What the command leaves as it was, the reply says.
fn records_all(command: &[u8], reply: &[u8]) -> bool {
    let number = |body, key| doc::find(body, key).and_then(|value| value.as_f64());
    let level = match number(command, "profile") {
        Some(level) if level >= 0.0 => level,
        // It only asked.
        _ => number(reply, "was").unwrap_or(0.0),
    };
    if level < 1.0 {
        return false;
    }
    // (A string unsets it.)
    let filter = doc::find(command, "filter").or_else(|| doc::find(reply, "filter"));
    if let Some(filter) = filter.as_ref().and_then(Element::as_document) {
        return !wants_slow(filter);
    }
    let slow = number(command, "slowms").or_else(|| number(reply, "slowms"));
    level >= 2.0 || slow.is_some_and(|ms| ms <= 0.0)
}

/// Whether the profiler's filter lets only operations pass that took some time.
fn wants_slow(filter: &[u8]) -> bool {
    let millis = doc::find(filter, "millis");
    let Some(conditions) = millis.as_ref().and_then(Element::as_document) else {
        return false;
    };
    doc::elements(conditions)
        .map_while(Result::ok)
        .any(|c| matches!(c.key, "$gt" | "$gte") && c.as_f64().is_some_and(|ms| ms > 0.0))
}

/// Databases remembered; those that come later are treated as any other.
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::pipeline::Writer;

    fn all(command: Document, reply: Document) -> bool {
        records_all(&command.to_vec().unwrap(), &reply.to_vec().unwrap())
    }

    #[test]
    fn only_a_profiler_that_records_every_operation_counts() {
        let was = || doc! {"was": 0, "slowms": 100, "sampleRate": 1.0, "ok": 1.0};
        assert!(all(doc! {"profile": 2}, was()));
        assert!(all(doc! {"profile": 2.0, "slowms": 100}, was()));
        assert!(!all(doc! {"profile": 0}, was()));
        assert!(!all(doc! {"profile": 1}, was()));
        assert!(!all(doc! {"profile": 1, "slowms": 20_i64}, was()));
        assert!(all(doc! {"profile": 1, "slowms": 0}, was()));
        assert!(all(doc! {"profile": 1}, doc! {"was": 0, "slowms": -1}));
    }

    #[test]
    fn a_filter_on_the_time_records_slow_operations_only() {
        let was = || doc! {"was": 0, "slowms": 100};
        let slow = || doc! {"millis": {"$gte": 50}};
        assert!(!all(doc! {"profile": 2, "filter": slow()}, was()));
        assert!(all(doc! {"profile": 2, "filter": {"op": "query"}}, was()));
        assert!(all(
            doc! {"profile": 1, "filter": {"millis": {"$gte": 0}}},
            was()
        ));
        let kept = || doc! {"was": 0, "slowms": 100, "filter": slow()};
        assert!(!all(doc! {"profile": 2}, kept()));
        assert!(all(doc! {"profile": 2, "filter": "unset"}, kept()));
    }

    #[test]
    fn a_question_tells_what_others_have_set() {
        assert!(all(doc! {"profile": -1}, doc! {"was": 2, "slowms": 100}));
        assert!(!all(doc! {"profile": -1}, doc! {"was": 1, "slowms": 100}));
        assert!(!all(doc! {"profile": -1}, doc! {"was": 0, "slowms": 0}));
    }

    #[test]
    fn another_process_of_the_server_records_nothing_until_it_is_told_to() {
        let facts = Arc::new(UpstreamFacts::default());
        let becomes = |process: u8| {
            facts.publish(|f| {
                f.writer = Some(Arc::new(Writer {
                    process: Some(vec![process]),
                    ..Writer::default()
                }));
            });
        };
        becomes(1);
        let profiler = Profiler::new(Arc::clone(&facts));
        let command = |level: i32, db: &str| {
            let body = doc! {"profile": level, "$db": db}.to_vec().unwrap();
            Command::parse_body(&bytes::Bytes::from(body)).unwrap()
        };
        let ok = doc! {"was": 0, "slowms": 100, "ok": 1.0}.to_vec().unwrap();
        assert!(sets_profiler(&command(2, "a")));
        profiler.note(&command(2, "a"), &ok);
        assert!(profiler.records(&command(1, "a")) && !profiler.records(&command(1, "b")));
        becomes(2);
        assert!(!profiler.records(&command(1, "a")));
        becomes(1);
        assert!(profiler.records(&command(1, "a")));
        profiler.note(&command(0, "a"), &ok);
        assert!(!profiler.records(&command(1, "a")));
    }
}
