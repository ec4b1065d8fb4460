//! A client that writes, in every way there is.

use bson::{Document, doc};

use super::link::Link;
use super::model::{GROUPS, KEYS, PHASES, v_of};
use super::query::MAIN;
use super::reader::operation_time;
use super::run::{Random, Run};
use super::{many, single};

/// One writer, with a session of its own.
pub struct Writer<'a> {
    pub run: &'a Run,
    pub random: Random,
    pub link: Link,
    /// Another connection.
    pub side: Link,
    lsid: Document,
    /// The session's last `txnNumber`.
    number: i64,
}

/// Writes until the readers have had enough.
pub fn write(run: &Run, number: u64) {
    let mut writer = Writer {
        run,
        random: Random::new(1000 + number),
        link: Link::connect(&run.address),
        side: Link::connect(&run.address),
        lsid: doc! {"id": bson::Uuid::new()},
        number: 0,
    };
    while run.goes_on() {
        match writer.random.below(100) {
            0..45 => single::write(&mut writer),
            45..50 => single::ambush(&mut writer),
            50..62 => many::increments(&mut writer),
            62..66 => many::group(&mut writer),
            66..74 => many::transaction(&mut writer),
            74..82 => many::updates(&mut writer),
            82..86 => many::inserts(&mut writer),
            86..88 => many::deletes(&mut writer),
            88..90 => many::copy(&mut writer),
            _ => single::nothing(&mut writer),
        }
        run.written();
        run.rest(&mut writer.random);
    }
}

impl Writer<'_> {
    /// A key, most likely the one that others are at too.
    pub fn key(&mut self) -> usize {
        match self.random.below(3) {
            0 => self.run.hot_key(),
            _ => self.random.below(KEYS as u64) as usize,
        }
    }

    /// Sends a command and returns its reply.
    pub fn try_command(
        &mut self,
        mut command: Document,
        sequence: Option<(&'static str, &[Document])>,
    ) -> Document {
        if !command.contains_key("$db") {
            command.insert("$db", &self.run.db);
        }
        let reply = self.link.command(&command, sequence);
        self.run.model.note_operation_time(operation_time(&reply));
        reply
    }

    /// Sends a command that must succeed.
    pub fn command(&mut self, command: Document) -> Document {
        let reply = self.try_command(command.clone(), None);
        assert!(succeeded(&reply), "{command}: {reply}");
        reply
    }

    /// Sends a write that must succeed, acknowledged at once or only once it is durable.
    pub fn acknowledged(&mut self, mut command: Document) -> Document {
        if self.random.below(6) > 0 {
            command.insert("writeConcern", doc! {"w": 1});
        }
        self.command(command)
    }

    /// Sends an `update` with one statement that must match so many documents.
    pub fn update(&mut self, statement: Document, matches: usize) {
        let mut command = doc! {"update": MAIN, "updates": [&statement]};
        if !statement.contains_key("multi") && self.random.below(4) == 0 {
            command.extend(self.retryable());
        }
        let reply = self.acknowledged(command);
        assert_eq!(
            reply.get_i32("n").ok(),
            Some(matches as i32),
            "{statement}: {reply}"
        );
    }

    /// Sends a write that isn't acknowledged, and the next request, which waits for it.
    pub fn unacknowledged(&mut self, mut command: Document, next: Document) -> Document {
        command.insert("writeConcern", doc! {"w": 0});
        command.insert("$db", &self.run.db);
        self.link.unacknowledged(&command);
        self.command(next)
    }

    /// Makes the next write of this session one that could be retried.
    fn retryable(&mut self) -> Document {
        self.number += 1;
        doc! {"lsid": &self.lsid, "txnNumber": self.number}
    }

    /// Begins a transaction, which ends the one before.
    pub fn begin(&mut self) {
        self.number += 1;
    }

    /// Sends a command within the transaction.
    pub fn within(&mut self, mut command: Document, first: bool) -> Document {
        command.insert("lsid", &self.lsid);
        command.insert("txnNumber", self.number);
        command.insert("autocommit", false);
        if first {
            command.insert("startTransaction", true);
        }
        self.try_command(command, None)
    }
}

/// Whether a command has done all that it was to do.
pub fn succeeded(reply: &Document) -> bool {
    reply.get_f64("ok").is_ok_and(|ok| ok == 1.0) && !reply.contains_key("writeErrors")
}

/// The document of a key in a state.
pub fn document(key: usize, n: i64, p: i32) -> Document {
    let mut whole = doc! {"_id": key as i32};
    whole.extend(fields(key, n, p));
    whole
}

/// The same without its `_id`.
pub fn fields(key: usize, n: i64, p: i32) -> Document {
    doc! {"k": key as i32, "g": (key % GROUPS) as i32, "p": p, "v": v_of(key, n)}
}

/// A `p`.
pub fn phase(random: &mut Random) -> i32 {
    random.below(PHASES as u64) as i32
}
