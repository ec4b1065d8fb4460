//! Which shape opened a cursor: the further batches of a result count towards the query that asked for it.
//!
//! Absent on purpose: cursors that wait for what is yet to come (tailable ones, change streams). The time that their `getMore`s
//! take isn't what the query costs.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::command::{Command, ShapeId};
use crate::wire::doc;

/// The cursors that were opened last, a bounded number.
#[derive(Default)]
pub(super) struct Opened(Mutex<Cursors>);

#[derive(Default)]
struct Cursors {
    shapes: HashMap<i64, ShapeId>,
    /// Oldest first; some are closed by now.
    order: VecDeque<i64>,
}

impl Opened {
    /// A command of this shape has opened a cursor.
    pub fn note(&self, cursor: i64, shape: ShapeId) {
        let mut cursors = self.0.lock();
        cursors.shapes.insert(cursor, shape);
        cursors.order.push_back(cursor);
        if cursors.order.len() > MOST
            && let Some(oldest) = cursors.order.pop_front()
        {
            cursors.shapes.remove(&oldest);
        }
    }

    /// The shape of the command that opened it, if that is remembered.
    pub fn by(&self, cursor: i64) -> Option<ShapeId> {
        self.0.lock().shapes.get(&cursor).copied()
    }

    /// Its last batch was read.
    pub fn closed(&self, cursor: i64) {
        self.0.lock().shapes.remove(&cursor);
    }
}

/// Whether the cursor of a command waits for what is yet to come.
pub(super) fn waits(command: &Command) -> bool {
    let tailable = doc::find(command.body(), "tailable");
    let stages = doc::find(command.body(), "pipeline");
    let first = stages.as_ref().and_then(|stages| {
        let first = doc::elements(stages.as_array()?).next()?.ok()?;
        Some(doc::elements(first.as_document()?).next()?.ok()?.key)
    });
    tailable.is_some_and(|t| t.is_truthy()) || first == Some("$changeStream")
}

/// Cursors remembered.
const MOST: usize = 4096;
