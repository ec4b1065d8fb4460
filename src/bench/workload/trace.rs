//! Commands recorded from an application, asked again.
//!
//! A trace is a text file, one JSON object per line:
//!
//! ```json
//! {"client": 3, "at_ms": 1250.5, "command": {"find": "users", "filter": {"_id": 7}, "$db": "game"}}
//! ```
//!
//! `command` is a whole command in MongoDB Extended JSON (canonical or relaxed), with `$db`. `client` tells the statements of
//! different clients' transactions apart (0 when absent); `at_ms` is when it was sent, for readers: a replay goes as fast as its
//! connections or `--rate` let it. `petiole bench --record FILE` writes such files.
//!
//! A replay deals the commands out in the order of the file, to whichever connection is free, a transaction as one piece,
//! and begins again after the last. Session ids and numbers are the replay's own. Commands that mean something to one
//! connection only (`hello`, authentication, cursors that were open then, upkeep of sessions) are left out.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bson::raw::cstr;
use bson::{Bson, Document, RawDocumentBuf};
use serde::{Deserialize, Serialize};

use super::template::Template;
use super::{Context, Source, fresh_number};
use crate::bench::random::Random;

/// One line of a trace.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// Which client sent it.
    #[serde(default)]
    pub client: u64,
    /// When, in milliseconds since the trace began.
    #[serde(default)]
    pub at_ms: f64,
    /// The command in Extended JSON.
    pub command: Bson,
}

/// A trace, ready to be asked.
#[derive(Debug, Default, PartialEq)]
pub struct Trace {
    units: Vec<Unit>,
    /// Commands that can't be asked again.
    pub left_out: usize,
}

/// A command, or a transaction.
type Unit = Vec<RawDocumentBuf>;

/// Why a file isn't a trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It can't be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A line isn't what it should be.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What's wrong.
        problem: String,
    },
    /// There's nothing to ask.
    #[error("no command that can be asked again")]
    Empty,
}

impl Trace {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Trace, TraceError> {
        Trace::parse(&std::fs::read_to_string(path)?)
    }

    /// Commands in it.
    pub fn commands(&self) -> usize {
        self.units.iter().map(Vec::len).sum()
    }

    /// The command number `index`, of all pieces in turn.
    pub fn nth(&self, index: usize) -> Option<&RawDocumentBuf> {
        self.units.iter().flatten().nth(index)
    }

    fn parse(text: &str) -> Result<Trace, TraceError> {
        let mut trace = Trace::default();
        let mut open: HashMap<u64, Unit> = HashMap::new();
        for (index, text) in text.lines().enumerate() {
            if text.trim().is_empty() {
                continue;
            }
            let (client, command) = parse_line(text).map_err(|problem| TraceError::Line {
                line: index + 1,
                problem,
            })?;
            let name = command.keys().next().map_or("", String::as_str);
            if !can_be_asked_again(name) {
                trace.left_out += 1;
                continue;
            }
            let ends = matches!(name, "commitTransaction" | "abortTransaction");
            let in_transaction = command.contains_key("autocommit");
            let raw = RawDocumentBuf::try_from(&command).map_err(|error| TraceError::Line {
                line: index + 1,
                problem: error.to_string(),
            })?;
            if !in_transaction {
                trace.units.push(vec![raw]);
                continue;
            }
            if command.contains_key("startTransaction") {
                open.insert(client, Vec::new());
            }
            match open.get_mut(&client) {
                Some(unit) => unit.push(raw),
                None => trace.left_out += 1,
            }
            if ends && let Some(unit) = open.remove(&client) {
                trace.units.push(unit);
            }
        }
        trace.left_out += open.values().map(Vec::len).sum::<usize>();
        if trace.units.is_empty() {
            return Err(TraceError::Empty);
        }
        Ok(trace)
    }
}

fn parse_line(text: &str) -> Result<(u64, Document), String> {
    let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match line.command {
        Bson::Document(command) if command.contains_key("$db") => Ok((line.client, command)),
        Bson::Document(_) => Err("a command without $db".to_owned()),
        other => Err(format!("{other} isn't a command")),
    }
}

/// Whether a command means the same on another connection at another time.
pub fn can_be_asked_again(name: &str) -> bool {
    !matches!(
        name,
        "" | "hello"
            | "isMaster"
            | "ismaster"
            | "saslStart"
            | "saslContinue"
            | "authenticate"
            | "logout"
            | "getMore"
            | "killCursors"
            | "endSessions"
            | "killSessions"
            | "refreshSessions"
    )
}

/// Asks a trace.
pub struct Replay {
    units: Vec<Vec<Prepared>>,
    next: usize,
    /// By connection: the transaction under way, its next statement, its number.
    open: Vec<Option<(usize, usize, i64)>>,
}

struct Prepared {
    template: Template,
    numbered: bool,
}

impl Replay {
    /// The trace of the context.
    pub fn new(context: &Context) -> Replay {
        let trace = context.trace.as_ref().map(Arc::clone).unwrap_or_default();
        let prepare = |command: &RawDocumentBuf| prepare(command, context.lane);
        let units = trace.units.iter();
        Replay {
            units: units
                .map(|unit| unit.iter().map(prepare).collect())
                .collect(),
            next: 0,
            open: Vec::new(),
        }
    }
}

/// The command with the replay's own session and number.
fn prepare(command: &RawDocumentBuf, lane: u64) -> Prepared {
    let fields = command.iter().flatten();
    let has = |name| matches!(command.get(name), Ok(Some(_)));
    let numbered = has("txnNumber") || has("autocommit");
    let template = Template::new(usize::from(numbered), |marks| {
        let mut own = RawDocumentBuf::new();
        for (key, value) in fields {
            if !matches!(key.as_str(), "lsid" | "$clusterTime" | "txnNumber") {
                own.append(key, value);
            }
        }
        own.append(cstr!("lsid"), marks.lsid.clone());
        if numbered {
            own.append(cstr!("txnNumber"), marks.int64(0));
        }
        own
    });
    Prepared {
        template: template.of_lane(lane),
        numbered,
    }
}

impl Source for Replay {
    fn fill(&mut self, connection: usize, _random: &mut Random, out: &mut Vec<u8>) {
        if self.open.len() <= connection {
            self.open.resize(connection + 1, None);
        }
        let (unit, step, number) = self.open[connection].take().unwrap_or_else(|| {
            let unit = self.next;
            self.next = (self.next + 1) % self.units.len().max(1);
            (unit, 0, fresh_number())
        });
        let Some(prepared) = self.units.get(unit).and_then(|unit| unit.get(step)) else {
            return;
        };
        let values = [number];
        let values: &[i64] = if prepared.numbered { &values } else { &[] };
        prepared.template.put(connection, values, out);
        if step + 1 < self.units[unit].len() {
            self.open[connection] = Some((unit, step + 1, number));
        }
    }

    /// The rest of a transaction that was refused means nothing.
    fn refused(&mut self, connection: usize) {
        if let Some(open) = self.open.get_mut(connection) {
            *open = None;
        }
    }

    fn unfinished(&self, connection: usize) -> bool {
        matches!(self.open.get(connection), Some(Some(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::reply::body;

    const TRACE: &str = r#"
{"client": 1, "command": {"find": "a", "filter": {"_id": {"$oid": "507f1f77bcf86cd799439011"}}, "$db": "d"}}
{"client": 1, "command": {"hello": 1, "$db": "admin"}}
{"client": 1, "command": {"update": "a", "updates": [], "txnNumber": 1, "startTransaction": true, "autocommit": false, "$db": "d"}}
{"client": 2, "command": {"insert": "b", "documents": [{"x": 1}], "lsid": {"id": 5}, "$db": "d"}}
{"client": 1, "command": {"commitTransaction": 1, "txnNumber": 1, "autocommit": false, "$db": "admin"}}
"#;

    #[test]
    fn a_replay_keeps_transactions_whole_and_sessions_its_own() {
        let trace = Trace::parse(TRACE).unwrap();
        assert_eq!((trace.commands(), trace.left_out), (4, 1));
        let context = Context {
            trace: Some(Arc::new(trace)),
            ..Context::default()
        };
        let mut replay = Replay::new(&context);
        let mut random = Random::seeded(1);
        let mut ask = |connection| {
            let mut frame = Vec::new();
            replay.fill(connection, &mut random, &mut frame);
            body(&frame).unwrap().to_owned()
        };
        let name = |command: &RawDocumentBuf| command.iter().next().unwrap().unwrap().0.to_string();
        assert_eq!(name(&ask(0)), "find");
        let insert = ask(0);
        assert_eq!(name(&insert), "insert");
        assert!(
            insert
                .get_document("lsid")
                .unwrap()
                .get_binary("id")
                .is_ok()
        );
        let begun = ask(0);
        assert_eq!(name(&ask(1)), "find");
        let committed = ask(0);
        assert_eq!(
            (name(&begun), name(&committed)),
            ("update".into(), "commitTransaction".into())
        );
        let number = |command: &RawDocumentBuf| command.get_i64("txnNumber").unwrap();
        assert_eq!(number(&begun), number(&committed));
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_line() {
        let wrong = |text| Trace::parse(text).unwrap_err().to_string();
        assert!(wrong("{\"command\": {\"ping\": 1}}").starts_with("line 1: a command without $db"));
        assert!(wrong("\n[]").starts_with("line 2:"));
        assert_eq!(wrong(""), "no command that can be asked again");
    }
}
