//! Replies that prove that a command changed nothing, although they don't say so by their counts.
//!
//! An error alone proves nothing: a multi-update that is interrupted has changed some documents, and a findAndModify may
//! fail at its projection, after the document was written. What is listed here is raised either before the command begins to
//! execute, or by one statement on one document, which the server carries out whole or not at all.
//!
//! A mongos asks several shards, one of which may have carried out its part: there only what the mongos itself raises
//! counts.

use super::{Command, Kind};
use crate::wire::doc;
use crate::wire::op_msg::OpMsg;

/// Whether the reply proves that this command changed nothing. `single`: it is one statement on one collection.
/// (Of an earlier try of the same command, the reply may say nothing.)
pub fn changed_nothing(
    command: &Command,
    msg: &OpMsg,
    reply: &[u8],
    single: bool,
    behind_mongos: bool,
) -> bool {
    let ok = doc::find(reply, "ok").and_then(|ok| ok.as_f64());
    match ok {
        Some(1.0) if behind_mongos => false,
        Some(1.0) => match command.kind {
            Kind::IndexChange => made_no_index(command, reply),
            Kind::Insert | Kind::Update if single => failed_whole(command, msg, reply),
            _ => false,
        },
        Some(_) => code(reply).is_some_and(|code| never_began(command, code, behind_mongos)),
        None => false,
    }
}

/// Whether the server raises this error for this command before it executes any of it.
pub fn never_began(command: &Command, code: i32, behind_mongos: bool) -> bool {
    // These report the error of a command or an operation within.
    if matches!(command.name(), "applyOps" | "doTxn") {
        return false;
    }
    match code {
        UNAUTHORIZED
        | REAUTHENTICATION_REQUIRED
        | API_VERSION_ERROR
        | API_STRICT_ERROR
        | API_DEPRECATION_ERROR => return true,
        COMMAND_NOT_FOUND => return command.kind == Kind::Unknown,
        _ if behind_mongos => return false,
        _ => {}
    }
    match command.kind {
        // What goes wrong with a document is in `writeErrors`: an error of the whole command that isn't an interruption is one
        // of its form.
        Kind::Insert | Kind::Update | Kind::Delete => {
            OF_THE_FORM.contains(&code) || OF_THE_SESSION.contains(&code)
        }
        // (Other errors of the form may also come from its projection.)
        Kind::FindAndModify => {
            OF_THE_FIELDS.contains(&code)
                || OF_THE_SESSION.contains(&code)
                || OF_THE_DOCUMENT.contains(&code)
        }
        Kind::Definition if command.name() == "create" => code == NAMESPACE_EXISTS,
        Kind::Definition => code == NAMESPACE_NOT_FOUND,
        Kind::Rename => matches!(code, NAMESPACE_NOT_FOUND | NAMESPACE_EXISTS),
        Kind::IndexChange => code == NAMESPACE_NOT_FOUND,
        Kind::Commit => code == NO_SUCH_TRANSACTION,
        Kind::GetMore => code == CURSOR_NOT_FOUND,
        _ => false,
    }
}

/// Whether the server says that a command needs a login that its sender hasn't: so it is for every command of a
/// sender without one.
pub fn needs_login(reply: &[u8]) -> bool {
    let text = doc::find(reply, "errmsg").and_then(|text| text.as_str());
    // (The same code says that a command is for another database, or for a local client only.)
    code(reply) == Some(UNAUTHORIZED)
        && text.is_some_and(|text| text.ends_with(" requires authentication"))
}

/// Whether a transaction's statement failed because its transaction isn't open, by a server that would know.
pub fn is_no_transaction(reply: &[u8]) -> bool {
    code(reply) == Some(NO_SUCH_TRANSACTION)
}

fn code(reply: &[u8]) -> Option<i32> {
    doc::find(reply, "code")?.as_i32()
}

/// A `createIndexes` whose indexes were all there.
fn made_no_index(command: &Command, reply: &[u8]) -> bool {
    let number = |key| doc::find(reply, key).and_then(|n| n.as_i64());
    let made = doc::find(reply, "createdCollectionAutomatically").is_some_and(|m| m.is_truthy());
    command.name() == "createIndexes"
        && !made
        && number("numIndexesBefore").is_some()
        && number("numIndexesBefore") == number("numIndexesAfter")
}

/// One statement on one document, and its only outcome is an error that the document was refused with.
fn failed_whole(command: &Command, msg: &OpMsg, reply: &[u8]) -> bool {
    let none = |key| doc::find(reply, key).is_none_or(|n| n.as_i64() == Some(0));
    let absent = |key| doc::find(reply, key).is_none();
    if !(none("n") && none("nModified") && absent("upserted") && absent("retriedStmtIds")) {
        return false;
    }
    let errors = doc::find(reply, "writeErrors").and_then(|errors| errors.as_array());
    let mut errors = doc::elements(errors.unwrap_or_default());
    let (Some(Ok(error)), None) = (errors.next(), errors.next()) else {
        return false;
    };
    let code = error.as_document().and_then(code);
    code.is_some_and(|code| OF_THE_DOCUMENT.contains(&code) || OF_THE_FORM.contains(&code))
        && (command.kind == Kind::Insert || is_of_one_document(command, msg))
}

/// Whether no statement of an update has `multi`.
fn is_of_one_document(command: &Command, msg: &OpMsg) -> bool {
    let one = |statement: &[u8]| doc::find(statement, "multi").is_none_or(|m| !m.is_truthy());
    let listed = doc::find(command.body(), "updates").and_then(|list| list.as_array());
    doc::elements(listed.unwrap_or_default())
        .all(|statement| statement.is_ok_and(|s| s.as_document().is_some_and(one)))
        && msg
            .sequences
            .iter()
            .all(|sequence| sequence.iter().all(|statement| statement.is_ok_and(one)))
}

const UNAUTHORIZED: i32 = 13;
const NAMESPACE_NOT_FOUND: i32 = 26;
const CURSOR_NOT_FOUND: i32 = 43;
const NAMESPACE_EXISTS: i32 = 48;
const COMMAND_NOT_FOUND: i32 = 59;
const NO_SUCH_TRANSACTION: i32 = 251;
const API_VERSION_ERROR: i32 = 322;
const API_STRICT_ERROR: i32 = 323;
const API_DEPRECATION_ERROR: i32 = 324;
const REAUTHENTICATION_REQUIRED: i32 = 391;

/// Fields of a command that the server doesn't know, misses or finds twice.
const OF_THE_FIELDS: [i32; 3] = [40413, 40414, 40415];

/// BadValue, FailedToParse, TypeMismatch, InvalidLength, InvalidOptions, InvalidNamespace, and the fields.
const OF_THE_FORM: [i32; 9] = [2, 9, 14, 16, 72, 73, 40413, 40414, 40415];

/// IllegalOperation (numbers on a standalone), TransactionTooOld, OperationNotSupportedInTransaction.
const OF_THE_SESSION: [i32; 3] = [20, 225, 263];

/// PathNotViable, ConflictingUpdateOperators, DollarPrefixedFieldName, EmptyFieldName, DottedFieldName,
/// ImmutableField, DocumentValidationFailure, DuplicateKey.
const OF_THE_DOCUMENT: [i32; 8] = [28, 40, 52, 56, 57, 66, 121, 11000];

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use bytes::Bytes;

    use super::*;
    use crate::wire::build;
    use crate::wire::frame::Frame;

    fn proves(document: Document, reply: Document, behind_mongos: bool) -> bool {
        let body = Bytes::from(document.to_vec().unwrap());
        let bytes = build::op_msg(1, 0, 0, &body);
        let msg = OpMsg::parse(&Frame { bytes }).unwrap();
        let command = Command::parse(&msg).unwrap();
        let single = ["documents", "updates", "deletes"]
            .iter()
            .any(|key| document.get_array(key).is_ok_and(|list| list.len() == 1));
        let reply = reply.to_vec().unwrap();
        changed_nothing(&command, &msg, &reply, single, behind_mongos)
    }

    fn error(code: i32) -> Document {
        doc! {"ok": 0.0, "code": code}
    }

    #[test]
    fn what_is_refused_before_it_begins_changed_nothing() {
        for (name, codes) in [
            ("insert", &[13, 391, 323, 2, 9, 14, 20, 72, 225, 40415][..]),
            ("update", &[13, 9, 40414]),
            ("delete", &[13, 9, 263]),
            ("findAndModify", &[13, 66, 11000, 40415]),
            ("drop", &[13, 26]),
            ("collMod", &[26]),
            ("create", &[13, 48]),
            ("renameCollection", &[13, 26, 48]),
            ("createUser", &[13, 391]),
            ("frobnicate", &[13, 59]),
            ("commitTransaction", &[13, 251]),
            ("getMore", &[13, 43]),
        ] {
            for code in codes {
                let command = doc! {name: "c", "$db": "d"};
                assert!(
                    proves(command.clone(), error(*code), false),
                    "{name} {code}"
                );
                let by_mongos = [13, 391, 323, 59].contains(code);
                assert_eq!(proves(command, error(*code), true), by_mongos);
            }
        }
    }

    #[test]
    fn an_error_that_may_come_in_the_midst_of_a_command_proves_nothing() {
        for (name, codes) in [
            ("insert", &[50, 59, 91, 112, 189, 10107, 11600, 11601][..]),
            ("update", &[50, 11000, 11601, 121]),
            // Its projection may fail after the document was written.
            ("findAndModify", &[2, 9, 14, 50, 241]),
            ("create", &[26, 50]),
            ("drop", &[48, 50]),
            ("createIndexes", &[48, 85, 11000]),
            ("createUser", &[2, 26, 40415, 51003]),
            ("applyOps", &[13, 59, 11000]),
            ("commitTransaction", &[50, 256, 11600]),
            ("aggregate", &[26, 48, 121]),
        ] {
            for code in codes {
                let command = doc! {name: "c", "pipeline": [{"$out": "x"}], "$db": "d"};
                assert!(!proves(command, error(*code), false), "{name} {code}");
            }
        }
        assert!(!proves(doc! {"insert": "c", "$db": "d"}, doc! {}, false));
    }

    #[test]
    fn one_statement_on_one_document_that_was_refused_changed_nothing() {
        let failed =
            |code: i32| doc! {"n": 0, "writeErrors": [{"index": 0, "code": code}], "ok": 1.0};
        let insert = doc! {"insert": "c", "documents": [{"_id": 1}], "$db": "d"};
        assert!(proves(insert.clone(), failed(11000), false));
        assert!(!proves(insert.clone(), failed(11000), true), "mongos");
        assert!(
            !proves(insert.clone(), failed(6), false),
            "it may have been carried out"
        );
        let two = doc! {"insert": "c", "documents": [{"_id": 1}, {}], "$db": "d"};
        assert!(!proves(two, failed(11000), false));
        let mut counted = failed(11000);
        counted.insert("n", 1);
        assert!(!proves(insert, counted, false));
        let update = |multi: bool| {
            let one = doc! {"q": {}, "u": {"$set": {"a": 1}}, "multi": multi};
            doc! {"update": "c", "updates": [one], "$db": "d"}
        };
        assert!(proves(update(false), failed(121), false));
        assert!(!proves(update(true), failed(121), false));
    }

    #[test]
    fn indexes_that_were_all_there_change_nothing() {
        let create = doc! {"createIndexes": "c", "indexes": [], "$db": "d"};
        let reply = |before: i32, after: i32| doc! {"numIndexesBefore": before, "numIndexesAfter": after, "ok": 1.0};
        assert!(proves(create.clone(), reply(2, 2), false));
        assert!(!proves(create.clone(), reply(2, 3), false));
        assert!(!proves(create.clone(), reply(2, 2), true));
        assert!(!proves(create.clone(), doc! {"ok": 1.0}, false));
        let mut made = reply(1, 1);
        made.insert("createdCollectionAutomatically", true);
        assert!(!proves(create, made, false));
        let drop = doc! {"dropIndexes": "c", "$db": "d"};
        assert!(!proves(drop, reply(2, 2), false));
    }

    #[test]
    fn only_the_want_of_a_login_is_taken_for_one() {
        let refused = |text: &str| {
            let reply = doc! {"ok": 0.0, "code": 13, "errmsg": text};
            needs_login(&reply.to_vec().unwrap())
        };
        assert!(refused("command insert requires authentication"));
        for other in [
            "top may only be run against the admin database.",
            "shutdown must run from localhost when running db without auth",
            "not authorized on a to execute command { insert: \"c\" }",
        ] {
            assert!(!refused(other), "{other}");
        }
    }
}
