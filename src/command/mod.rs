//! What a message means: one pass over the command document, a table of
//! commands, what a write may touch, the cache key of a read, and views of replies.
//!
//! Pure: no sockets, no clock, no log. Nothing here panics on bytes from a peer;
//! what can't be understood is `Kind::Unknown`, and an unknown command is assumed
//! to write everywhere.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

mod awaiting;
mod bypass;
mod default_concern;
mod edit;
mod error_reply;
mod field_name;
mod fields;
mod filters;
mod footprint;
mod key;
mod kind;
pub mod matcher;
mod number;
mod parse;
mod path;
mod projection;
mod read_plan;
mod refused;
mod reply;
mod retryable;
mod returned;
mod shape;
mod statement;
mod survival;
mod value;
mod volatile;

pub use awaiting::opens_awaiting;
pub use bypass::Bypass;
pub use default_concern::default_reads_are_local;
pub use edit::{
    acknowledged, commit_again, numbered, outgoing, with_body, without_cluster_time,
    without_retry_marks,
};
pub use error_reply::{ErrorReply, codes, labels};
pub(crate) use field_name::{FieldName, Names};
pub use filters::{Filters, filters};
pub use footprint::{Footprint, Namespace, footprint};
pub use key::{KEY_COMMAND, Wish, canonical};
pub use kind::Kind;
pub use matcher::{Equality, Reached, Work, values_at};
pub use parse::{Command, Span};
pub use path::Paths;
pub use read_plan::{ReadPlan, ReadShape};
pub use refused::{changed_nothing, is_no_transaction, needs_login, never_began};
pub use reply::{Effect, ReplyView, effect, is_mere_success, only_change};
pub use retryable::{
    Plea, RETRYABLE_READS, Repeatable, Standing, may_be_numbered, plea, repeatable, standing,
};
pub use returned::returned;
pub use shape::{ShapeId, first_statement, shape_collection, shape_id, shape_text};
pub use statement::{Change, Inserts, Selector, Statement, modified_path, statements};
pub use survival::{Reach, document_keys, known_at, reach, selected_ids, survives, telling_fields};
pub use value::{Strings, Tri, ValueKey};
pub use volatile::{MOST_SOURCES, check_definition, check_read};
