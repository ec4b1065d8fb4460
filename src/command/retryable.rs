//! What may be sent again, and which errors ask for it: the tables of the specifications
//! "Retryable Reads", "Retryable Writes" and "Client Backpressure".

use super::{Command, FieldName, Kind, Names, ReplyView, labels};
use crate::wire::doc;
use crate::wire::op_msg::OpMsg;

/// What kind of request it is, for those who might send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeatable {
    /// A read: may be sent again after any transient fault.
    Read,
    /// A write under a `txnNumber`, or the end of a transaction: the server runs it once, however
    /// often it comes.
    Numbered,
    /// Only if it was certainly not executed.
    Never,
}

/// Whether sending a command again does no harm.
pub fn repeatable(command: &Command) -> Repeatable {
    match command.kind {
        Kind::Commit | Kind::Abort => Repeatable::Numbered,
        _ if command.in_transaction => Repeatable::Never,
        Kind::Find | Kind::Count | Kind::Distinct => Repeatable::Read,
        Kind::Aggregate if !command.pipeline_writes => Repeatable::Read,
        Kind::Read if ENUMERATIONS.contains(&command.name()) => Repeatable::Read,
        Kind::Insert | Kind::Update | Kind::Delete | Kind::FindAndModify | Kind::BulkWrite
            if command.txn_number.is_some() && !command.unacknowledged =>
        {
            Repeatable::Numbered
        }
        _ => Repeatable::Never,
    }
}

/// Whether the server takes a write under a `txnNumber` ("Supported Write Operations"): no
/// statement may change several documents. Only for writes without a number of their own.
pub fn may_be_numbered(command: &Command, msg: &OpMsg) -> bool {
    let is_written = matches!(
        command.kind,
        Kind::Insert | Kind::FindAndModify | Kind::Update | Kind::Delete
    );
    let is_plain = is_written
        && !command.in_transaction
        && !command.unacknowledged
        && !UNREPLICATED.contains(&command.db())
        && command
            .collection()
            .is_some_and(|c| !c.starts_with("system."))
        && command.fields().all(|(name, field)| match name {
            // What the server would refuse must reach it as it is.
            FieldName::Lsid => field.unnamed().as_document().is_some_and(is_usual_session),
            name => !OTHERWISE_NUMBERED.has(name),
        });
    let all = |key: &str, harmless: fn(&[u8]) -> bool| statements(command, msg, key, harmless);
    is_plain
        && match command.kind {
            Kind::Insert | Kind::FindAndModify => true,
            Kind::Update => all("updates", |s| {
                doc::find(s, "multi").is_none_or(|m| m.as_bool() == Some(false))
            }),
            Kind::Delete => all("deletes", |s| {
                doc::find(s, "limit").and_then(|l| l.as_i64()) == Some(1)
            }),
            _ => false,
        }
}

/// `{id: UUID}` and nothing else.
fn is_usual_session(lsid: &[u8]) -> bool {
    let mut elements = doc::elements(lsid);
    let is_id = matches!(elements.next(), Some(Ok(first))
        if first.key == "id" && first.value.len() == 4 + 1 + 16 && first.value.get(4) == Some(&4));
    is_id && elements.next().is_none()
}

/// Whether `harmless` holds for every statement, wherever the message carries them.
fn statements(command: &Command, msg: &OpMsg, key: &str, harmless: fn(&[u8]) -> bool) -> bool {
    let in_body = doc::find(command.body(), key).and_then(|list| list.as_array());
    let in_body_is_fine = in_body.is_none_or(|list| {
        doc::elements(list).all(|s| s.is_ok_and(|s| s.as_document().is_some_and(harmless)))
    });
    in_body_is_fine
        && msg.sequences.iter().all(|sequence| {
            sequence.identifier == key
                && doc::documents(&sequence.documents).all(|s| s.is_ok_and(harmless))
        })
}

/// Whether a reply of the server asks for its request to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plea {
    /// It stands.
    None,
    /// A transient fault: this request may be sent again.
    Again,
    /// The server is overloaded and hasn't executed it: any request may be sent again, later.
    Later,
}

/// What a reply asks for. Labels decide where the server gives them (writes); codes where it
/// doesn't (reads).
pub fn plea(what: Repeatable, reply: &ReplyView) -> Plea {
    if reply.ok && !reply.write_errors {
        return Plea::None;
    }
    let is_overload = reply.has_label(labels::SYSTEM_OVERLOADED);
    if is_overload && reply.has_label(labels::RETRYABLE) {
        return Plea::Later;
    }
    let again = match what {
        Repeatable::Read => {
            !reply.ok
                && reply
                    .code
                    .is_some_and(|code| RETRYABLE_READS.contains(&code))
        }
        Repeatable::Numbered => reply.has_label(labels::RETRYABLE_WRITE),
        Repeatable::Never => false,
    };
    match (again, is_overload) {
        (false, _) => Plea::None,
        (true, false) => Plea::Again,
        (true, true) => Plea::Later,
    }
}

/// What an error says of the server's part in its replica set ("Server Discovery and
/// Monitoring", error handling).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Unchanged,
    /// It isn't the primary (any more).
    NotPrimary,
    /// It is neither primary nor secondary, or about to end.
    Recovering,
}

/// What a reply says of the server's part in its replica set.
pub fn standing(reply: &ReplyView) -> Standing {
    let code = match reply.ok {
        true => reply.write_concern_code,
        false => reply.code,
    };
    match code {
        Some(code) if RECOVERING.contains(&code) => Standing::Recovering,
        Some(code) if NOT_PRIMARY.contains(&code) => Standing::NotPrimary,
        _ => Standing::Unchanged,
    }
}

/// "Retryable Reads": HostUnreachable, HostNotFound, NetworkTimeout, ShutdownInProgress,
/// ReadConcernMajorityNotAvailableYet, PrimarySteppedDown, ExceededTimeLimit, SocketException,
/// NotWritablePrimary, InterruptedAtShutdown, InterruptedDueToReplStateChange,
/// NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary.
pub const RETRYABLE_READS: [i32; 13] = [
    6, 7, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436,
];

/// NotWritablePrimary, NotPrimaryNoSecondaryOk and LegacyNotPrimary.
const NOT_PRIMARY: [i32; 3] = [10107, 13435, 10058];
/// InterruptedAtShutdown, InterruptedDueToReplStateChange, NotPrimaryOrSecondary,
/// PrimarySteppedDown and ShutdownInProgress.
const RECOVERING: [i32; 5] = [11600, 11602, 13436, 189, 91];

/// "Enumeration commands". (What asks one server about itself isn't the same elsewhere.)
const ENUMERATIONS: [&str; 3] = ["listCollections", "listIndexes", "listDatabases"];
/// Fields of writes that have numbers already, or take none.
const OTHERWISE_NUMBERED: Names = Names::of(&[
    FieldName::TxnNumber,
    FieldName::StmtId,
    FieldName::StmtIds,
    FieldName::StartTransaction,
    FieldName::Autocommit,
    FieldName::EncryptionInformation,
]);
/// Databases whose writes the server doesn't take under a number, or that are its own.
const UNREPLICATED: [&str; 3] = ["local", "config", "admin"];

#[cfg(test)]
mod tests;
