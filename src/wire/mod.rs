//! Bytes of the MongoDB wire protocol, and nothing else.
//!
//! Everything here is pure: no socket, no clock, no log. A caller collects
//! bytes in a buffer, [`frame::take_frame`] cuts whole messages out of it, and
//! the `op_*` modules say what a message holds. All of them are zero-copy:
//! what they return are slices of the message that came in, so that a frame
//! which is only passed on is never re-encoded.
//!
//! Invariants:
//! - Nothing panics on any input. Indexing, `unwrap` and `expect` are denied
//!   outside tests; `fuzzing` holds the properties that fuzz targets check.
//! - A length that a peer claims is never a reason to allocate: memory follows
//!   what has been received (or really inflated), at most one step ahead.
//! - Only broken framing is an error. Unknown sections, unknown optional flags
//!   and odd values inside documents are for mongod to judge.
//!
//! Absent on purpose: what a command means (that is `command`), and any
//! validation of documents deeper than a reader asks for.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod build;
pub mod doc;
mod doc_buf;
pub mod error;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
pub mod header;
pub mod op_code;
pub mod op_compressed;
pub mod op_msg;
pub mod op_query;
pub mod op_reply;
mod reader;

pub use error::{CompressedError, DocError, FrameError, MsgError, WireError};
pub use frame::{Frame, ONE_MORE, reserve_more, take_frame};
pub use header::{HEADER_LEN, Header, patch_ids};
