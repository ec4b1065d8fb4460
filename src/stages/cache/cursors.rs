//! Results of several batches: cursors that the proxy itself keeps for answers from memory.
//!
//! A cursor belongs to the session and the principal that opened it, ends by `killCursors`, by the
//! end of its session, or after ten minutes without use, as the server's own do. It goes on
//! showing the answer it began with, whatever is written meanwhile: a lawful cursor may.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::entry::Entry;
use crate::command::{Command, ErrorReply, Kind, codes};
use crate::memory::Live;
use crate::pipeline::{Moment, Reply, Request};
use crate::wire::build::DocBuf;
use crate::wire::doc;

#[derive(Default)]
pub(super) struct Cursors {
    open: DashMap<i64, Cursor, RandomState>,
    random: RandomState,
}

struct Cursor {
    entry: Arc<Entry>,
    /// Where in the answer the next batch begins.
    next: usize,
    principal: u64,
    session: Option<Box<[u8]>>,
    used: Instant,
    /// Up to when its user was known to have the right to see the answer.
    entitled: Entitled,
    _live: Live,
}

/// When a user had the right to see an answer: the fences' generation, and the time.
#[derive(Clone, Copy)]
struct Entitled {
    generation: u64,
    at: Moment,
}

impl Cursors {
    /// The first batch of an answer, with a cursor for the others.
    pub fn first(&self, request: &Request, entry: &Arc<Entry>, size: u64, live: Live) -> Reply {
        use std::hash::BuildHasher;
        // As random as the server's own ids, and positive like them.
        let id = loop {
            let seed = (Instant::now(), std::thread::current().id(), self.open.len());
            let id = i64::from_le_bytes(self.random.hash_one(seed).to_le_bytes()) & i64::MAX;
            if id != 0 && !self.open.contains_key(&id) {
                break id;
            }
        };
        let cut = entry.cut("firstBatch", 0, size, id);
        if let Some(next) = cut.next {
            self.open.insert(
                id,
                Cursor {
                    entry: Arc::clone(entry),
                    next,
                    principal: request.principal.id,
                    session: session(&request.command),
                    used: Instant::now(),
                    entitled: Entitled {
                        generation: entry.tie.generation(),
                        at: entry.asked,
                    },
                    _live: live,
                },
            );
        }
        Reply::document(&request.frame, &cut.reply)
    }

    /// The answer to a `getMore`, if its cursor is one of these.
    pub fn more(&self, request: &Request) -> Option<Reply> {
        if self.open.is_empty() {
            return None;
        }
        let command = &request.command;
        let id = command.cursor_id()?;
        let mut cursor = self.open.get_mut(&id)?;
        let refused = cursor.refuses(request, id);
        let size = match refused.map_or_else(|| batch_size(command), Err) {
            Ok(size) => size,
            Err(error) => {
                let refusal = cursor.refusal(&error);
                return Some(Reply::document(&request.frame, &refusal));
            }
        };
        let cut = cursor.entry.cut("nextBatch", cursor.next, size, id);
        cursor.used = Instant::now();
        match cut.next {
            Some(next) => cursor.next = next,
            None => {
                drop(cursor);
                self.open.remove(&id);
            }
        }
        Some(Reply::document(&request.frame, &cut.reply))
    }

    /// The read that a cursor goes on with, if the request may use the cursor but the user's
    /// rights aren't known to be what they were.
    pub fn doubtful(
        &self,
        request: &Request,
        generation: u64,
        now: Moment,
        principal_ttl: Duration,
    ) -> Option<Arc<Entry>> {
        if self.open.is_empty() || request.principal.id == 0 {
            return None;
        }
        let id = request.command.cursor_id()?;
        let cursor = self.open.get(&id)?;
        let believed = cursor.entitled.generation == generation
            && now.since(cursor.entitled.at) < principal_ttl;
        (!believed && cursor.refuses(request, id).is_none()).then(|| Arc::clone(&cursor.entry))
    }

    /// The user had the right to see a cursor's answer in this generation, at this time.
    pub fn entitle(&self, request: &Request, generation: u64, at: Moment) {
        let id = request.command.cursor_id().unwrap_or_default();
        if let Some(mut cursor) = self.open.get_mut(&id) {
            cursor.entitled = Entitled { generation, at };
        }
    }

    /// Ends one.
    pub fn end(&self, id: i64) {
        self.open.remove(&id);
    }

    /// Kills what a `killCursors` names of these, and says which.
    pub fn kill(&self, request: &Request) -> Vec<i64> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let named = doc::find(request.command.body(), "cursors").and_then(|c| c.as_array());
        let ids = named.into_iter().flat_map(doc::elements).flatten();
        ids.filter_map(|id| id.as_i64())
            .filter(|id| {
                let own = |_: &i64, c: &Cursor| c.refuses(request, *id).is_none();
                self.open.remove_if(id, own).is_some()
            })
            .collect()
    }

    /// Ends the cursors of sessions that an `endSessions` or `killSessions` names.
    pub fn end_sessions(&self, request: &Request) {
        let named = doc::elements(request.command.body()).next();
        let named = named.and_then(|e| e.ok()?.as_array());
        for ended in named.into_iter().flat_map(doc::elements).flatten() {
            let id = ended.as_document().and_then(|lsid| doc::find(lsid, "id"));
            self.open.retain(|_, cursor| {
                cursor.principal != request.principal.id
                    || cursor.session.as_deref() != id.as_ref().map(|id| id.raw)
            });
        }
    }

    /// Ends cursors that have been left alone.
    pub fn sweep(&self, now: Instant) {
        self.open.retain(|_, cursor| now - cursor.used < IDLE);
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }
}

impl Cursor {
    /// Why a request may not use this cursor, in the server's words.
    fn refuses(&self, request: &Request, id: i64) -> Option<ErrorReply> {
        let command = &request.command;
        if self.principal != request.principal.id {
            let message = format!("cursor id {id} was not created by the authenticated user");
            return Some(error(codes::UNAUTHORIZED, message));
        }
        let of = |c: &[u8], key| {
            doc::find(c, key)
                .and_then(|e| e.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let asked = self
            .entry
            .key
            .get(crate::command::KEY_COMMAND..)
            .unwrap_or_default();
        let collection = doc::elements(asked).next().and_then(|e| e.ok()?.as_str());
        if of(asked, "$db") != command.db() || collection != command.collection() {
            let message = format!(
                "Requested getMore on namespace '{}.{}', but cursor belongs to a different namespace {}.{}",
                command.db(),
                command.collection().unwrap_or_default(),
                of(asked, "$db"),
                collection.unwrap_or_default()
            );
            return Some(error(codes::UNAUTHORIZED, message));
        }
        if command.kind != Kind::GetMore {
            // A killCursors may come without a session.
            return None;
        }
        let session = session(command);
        let (code, how) = match (&self.session, &session) {
            (None, Some(_)) => ((50736, "Location50736"), "not created in a session"),
            (Some(_), None) => (
                (50737, "Location50737"),
                "created in a session, without an lsid",
            ),
            (one, other) if one != other => {
                ((50738, "Location50738"), "created in another session")
            }
            _ if command.txn_number.is_some() => {
                ((50739, "Location50739"), "not created in a transaction")
            }
            _ => return None,
        };
        let message = format!("Cannot run getMore on cursor {id}, which was {how}");
        Some(error(code, message))
    }

    /// An error with the `operationTime` of the answer.
    fn refusal(&self, error: &ErrorReply) -> Vec<u8> {
        let mut reply = DocBuf::new();
        for element in doc::elements(&error.document()).flatten() {
            reply.append_raw(element.raw);
        }
        if let Some(time) = doc::find(self.entry.body(), "operationTime") {
            reply.append_raw(time.raw);
        }
        reply.finish()
    }
}

/// The size that a `getMore` asks for, or what the server says to one that it doesn't accept.
fn batch_size(command: &Command) -> Result<u64, ErrorReply> {
    let mut size = u64::MAX;
    for element in doc::elements(command.body()).flatten() {
        match element.key {
            "getMore"
            | "collection"
            | "$db"
            | "lsid"
            | "$clusterTime"
            | "comment"
            | "$readPreference"
            | "apiVersion"
            | "apiStrict"
            | "apiDeprecationErrors" => {}
            "maxTimeMS" if element.as_i64() == Some(0) => {}
            "maxTimeMS" => {
                let message = "cannot set maxTimeMS on getMore command for a non-awaitData cursor";
                return Err(error(codes::BAD_VALUE, message.to_owned()));
            }
            "batchSize" => match element.as_i64().map(u64::try_from) {
                Some(Ok(0)) => {}
                Some(Ok(asked)) => size = asked,
                _ => {
                    let message = "BSON field 'batchSize' value must be >= 0";
                    return Err(error((51024, "Location51024"), message.to_owned()));
                }
            },
            key => {
                let message = format!("BSON field 'getMore.{key}' is an unknown field.");
                return Err(error((40415, "Location40415"), message));
            }
        }
    }
    Ok(size)
}

/// In the server's own words.
fn error(code: (i32, &'static str), message: String) -> ErrorReply {
    ErrorReply {
        message,
        ..ErrorReply::new(code, "")
    }
}

/// The reply to a `killCursors` of which `killed` were ours: `theirs` is what the server said to it.
pub(super) fn killed_reply(killed: &[i64], theirs: Option<&[u8]>) -> Vec<u8> {
    let mut reply = DocBuf::new();
    let list = |name: &str| {
        let list = theirs
            .and_then(|t| doc::find(t, name))
            .and_then(|l| l.as_array());
        let ids = list.into_iter().flat_map(doc::elements).flatten();
        ids.filter_map(|id| id.as_i64()).collect::<Vec<i64>>()
    };
    for name in [
        "cursorsKilled",
        "cursorsNotFound",
        "cursorsAlive",
        "cursorsUnknown",
    ] {
        let mut ids = list(name);
        ids.retain(|id| !killed.contains(id));
        if name == "cursorsKilled" {
            ids.extend(killed);
        }
        reply.append_array(name, |array| {
            for id in ids {
                array.push_i64(id);
            }
        });
    }
    match theirs {
        Some(theirs) => {
            let lists = [
                "cursorsKilled",
                "cursorsNotFound",
                "cursorsAlive",
                "cursorsUnknown",
            ];
            for element in doc::elements(theirs)
                .flatten()
                .filter(|e| !lists.contains(&e.key))
            {
                reply.append_raw(element.raw);
            }
        }
        None => {
            reply.append_f64("ok", 1.0);
        }
    }
    reply.finish()
}

fn session(command: &Command) -> Option<Box<[u8]>> {
    let id = doc::find(command.lsid()?, "id")?;
    Some(id.raw.into())
}

/// How long a cursor lives without use (the server's `cursorTimeoutMillis`).
pub(super) const IDLE: Duration = Duration::from_secs(600);
