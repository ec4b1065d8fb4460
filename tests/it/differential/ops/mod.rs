//! The operations of the differential suite, as data.
//!
//! They run in the order of [`all`], each on what the ones before it left
//! behind: a list is a little story about one database. A file holds one kind
//! of operation, and prepares its own collections.

mod admin;
mod aggregate;
mod bulk_write;
mod catalog;
mod collections;
mod cursors;
mod errors;
mod explain;
mod find;
mod find_and_modify;
mod indexes;
mod insert;
mod places;
mod sessions;
mod transactions;
mod update;
mod users;
mod values;
mod wire;
mod writers;

use std::collections::HashMap;

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, Timestamp, Uuid, doc};

use super::mask::{Mask, Rule};
use crate::raw::Compressor;

/// Every operation, in the order in which they run.
pub fn all() -> Vec<Op> {
    [
        insert::ops(),
        find::ops(),
        values::ops(),
        cursors::ops(),
        update::ops(),
        find_and_modify::ops(),
        aggregate::ops(),
        writers::ops(),
        places::ops(),
        catalog::ops(),
        collections::ops(),
        indexes::ops(),
        sessions::ops(),
        transactions::ops(),
        bulk_write::ops(),
        explain::ops(),
        users::ops(),
        admin::ops(),
        errors::ops(),
        wire::ops(),
    ]
    .concat()
}

/// How a command travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OP_MSG.
    Msg,
    /// OP_MSG with a checksum.
    Checksum,
    /// OP_MSG with `moreToCome`: no reply.
    Unacknowledged,
    /// OP_MSG with `exhaustAllowed`, until the cursor ends.
    Exhaust,
    /// OP_MSG inside an OP_COMPRESSED, where hello offered that compressor.
    Compressed(Compressor),
    /// OP_QUERY to `<database>.$cmd`, as for the first hello.
    Query,
    /// OP_MSG whose sequence stands before the command.
    SequenceFirst,
}

/// The value of `$db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// The database of this run.
    Own,
    /// A second one, dropped with the first.
    Other,
    /// Any name.
    Named(&'static str),
    /// No `$db` is added.
    Absent,
}

/// Makes the command, from what earlier replies told.
pub type Build = fn(&mut Ctx) -> Document;

/// Makes the documents of a sequence.
pub type BuildSequence = fn(&mut Ctx) -> Vec<Document>;

/// One operation.
#[derive(Debug, Clone)]
pub struct Op {
    /// Unique name.
    pub name: &'static str,
    /// The command.
    pub build: Build,
    /// Where it runs.
    pub database: Database,
    /// How it travels.
    pub form: Form,
    /// A document sequence that travels with it.
    pub sequence: Option<(&'static str, BuildSequence)>,
    /// Whether it's a read, which may be sent again and again.
    pub repeats: bool,
    /// Whether the proxy answers this by itself, before any upstream.
    pub by_the_proxy: bool,
    /// What may differ in its replies.
    pub masks: &'static [Rule],
}

/// An operation that changes something, or depends on being sent once.
pub fn once(name: &'static str, build: Build) -> Op {
    Op {
        name,
        build,
        database: Database::Own,
        form: Form::Msg,
        sequence: None,
        repeats: false,
        by_the_proxy: false,
        masks: &[],
    }
}

/// A read: sent several times in a row through the proxy.
pub fn read(name: &'static str, build: Build) -> Op {
    Op {
        repeats: true,
        ..once(name, build)
    }
}

impl Op {
    /// Runs on another database.
    pub fn on(self, database: Database) -> Op {
        Op { database, ..self }
    }

    /// Runs on `admin`.
    pub fn on_admin(self) -> Op {
        self.on(Database::Named("admin"))
    }

    /// Travels in another form.
    pub fn in_form(self, form: Form) -> Op {
        Op { form, ..self }
    }

    /// Carries a document sequence.
    pub fn with(self, identifier: &'static str, documents: BuildSequence) -> Op {
        let sequence = Some((identifier, documents));
        Op { sequence, ..self }
    }

    /// The proxy answers this by itself, as mongod would, in its own words.
    pub fn answered_by_the_proxy(self) -> Op {
        Op {
            by_the_proxy: true,
            masks: &[("errmsg", Mask::Value), ("operationTime", Mask::Drop)],
            ..self
        }
    }

    /// Adds masks, which go before the ones that hold everywhere.
    pub fn masking(self, masks: &'static [Rule]) -> Op {
        Op { masks, ..self }
    }

    /// The documents of its first batch may come in any order.
    pub fn unordered(self) -> Op {
        self.masking(&[("cursor.firstBatch", Mask::Unordered)])
    }
}

/// What one run of the list knows.
#[derive(Debug)]
pub struct Ctx {
    /// The run's database.
    pub database: String,
    /// Its second database.
    pub other: String,
    /// `operationTime` of the last reply that had one.
    pub operation_time: Option<Timestamp>,
    cursors: HashMap<&'static str, i64>,
    sessions: HashMap<&'static str, Uuid>,
    words: Vec<(String, String)>,
}

impl Ctx {
    /// A run that has done nothing yet.
    pub fn new(database: &str) -> Ctx {
        Ctx {
            database: database.to_owned(),
            other: format!("{database}_other"),
            operation_time: None,
            cursors: HashMap::new(),
            sessions: HashMap::new(),
            words: Vec::new(),
        }
    }

    /// The cursor that the operation called `name` left open, or 0.
    pub fn cursor(&self, name: &str) -> i64 {
        self.cursors.get(name).copied().unwrap_or(0)
    }

    /// The session id that goes by `name` in this run.
    pub fn session(&mut self, name: &'static str) -> Document {
        let words = &mut self.words;
        let id = *self.sessions.entry(name).or_insert_with(|| {
            let id = Uuid::new();
            words.push((id.to_string(), format!("<session {name}>")));
            id
        });
        let bytes = id.bytes().to_vec();
        let subtype = BinarySubtype::Uuid;
        doc! { "id": Binary { subtype, bytes } }
    }

    /// `afterClusterTime` for a causally consistent read.
    pub fn seen(&self) -> Bson {
        let never = Timestamp {
            time: 1,
            increment: 1,
        };
        Bson::Timestamp(self.operation_time.unwrap_or(never))
    }

    /// Learns from the reply to the operation called `name`.
    pub fn learn(&mut self, name: &'static str, reply: &Document) {
        if let Ok(time) = reply.get_timestamp("operationTime") {
            self.operation_time = Some(time);
        }
        let cursor = reply.get_document("cursor").and_then(|c| c.get_i64("id"));
        if let Ok(id) = cursor
            && id != 0
        {
            self.cursors.insert(name, id);
            self.words.push((id.to_string(), "<cursor>".to_owned()));
        }
    }

    /// Texts of this run that may turn up in replies.
    pub fn words(&self) -> &[(String, String)] {
        &self.words
    }
}
