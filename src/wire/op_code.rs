//! Operation codes of the wire protocol, as they stand in a message header.
//!
//! The retired codes are named because a proxy meets them: a very old client
//! may send one, and it is refused by name, not by number.

/// Reply to [`OP_QUERY`] and [`OP_GET_MORE`].
pub const OP_REPLY: i32 = 1;
/// Retired: legacy update, no reply.
pub const OP_UPDATE: i32 = 2001;
/// Retired: legacy insert, no reply.
pub const OP_INSERT: i32 = 2002;
/// Legacy query; still used by drivers for the first `isMaster`.
pub const OP_QUERY: i32 = 2004;
/// Retired: legacy next batch.
pub const OP_GET_MORE: i32 = 2005;
/// Retired: legacy delete, no reply.
pub const OP_DELETE: i32 = 2006;
/// Retired: legacy kill cursors, no reply.
pub const OP_KILL_CURSORS: i32 = 2007;
/// Retired: command format between servers before 3.6.
pub const OP_COMMAND: i32 = 2010;
/// Retired: reply to [`OP_COMMAND`].
pub const OP_COMMANDREPLY: i32 = 2011;
/// Another message, compressed.
pub const OP_COMPRESSED: i32 = 2012;
/// The message format of every current command and reply.
pub const OP_MSG: i32 = 2013;

/// The name of an operation code, for errors and logs.
#[must_use]
pub fn name(op_code: i32) -> &'static str {
    match op_code {
        OP_REPLY => "OP_REPLY",
        OP_UPDATE => "OP_UPDATE",
        OP_INSERT => "OP_INSERT",
        OP_QUERY => "OP_QUERY",
        OP_GET_MORE => "OP_GET_MORE",
        OP_DELETE => "OP_DELETE",
        OP_KILL_CURSORS => "OP_KILL_CURSORS",
        OP_COMMAND => "OP_COMMAND",
        OP_COMMANDREPLY => "OP_COMMANDREPLY",
        OP_COMPRESSED => "OP_COMPRESSED",
        OP_MSG => "OP_MSG",
        _ => "unknown",
    }
}
