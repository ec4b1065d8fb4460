//! Cursors whose `getMore` the server holds back until there is something new.

use super::kind::Kind;
use super::parse::Command;
use crate::wire::doc;

/// Whether the cursor that a command opens awaits data: that of a change stream, or of a tailable find with `awaitData`.
pub fn opens_awaiting(command: &Command) -> bool {
    let body = command.body();
    match command.kind {
        Kind::Find => ["tailable", "awaitData"]
            .iter()
            .all(|name| doc::find(body, name).is_some_and(|field| field.is_truthy())),
        Kind::Aggregate => {
            let pipeline = doc::find(body, "pipeline").and_then(|stages| stages.as_array());
            let first = pipeline.and_then(|stages| doc::elements(stages).next()?.ok());
            let name = first.and_then(|stage| doc::elements(stage.as_document()?).next()?.ok());
            name.is_some_and(|name| name.key == "$changeStream")
        }
        _ => false,
    }
}
