//! What a reply says: one pass over its top level.

use super::{Command, Kind};
use crate::wire::doc;

/// Facts of a reply document that routing and coherence need.
#[derive(Clone, Debug, Default)]
pub struct ReplyView {
    /// `ok` is 1.
    pub ok: bool,
    /// `code` of a command error.
    pub code: Option<i32>,
    /// `cursor.id`, when the reply opens or continues a cursor.
    pub cursor_id: Option<i64>,
    /// `n`.
    pub n: Option<i64>,
    /// `nModified`.
    pub n_modified: Option<i64>,
    /// `upserted` is present.
    pub upserted: bool,
    /// `writeErrors` or `writeConcernError` is present.
    pub write_errors: bool,
    /// `writeConcernError.code`.
    pub write_concern_code: Option<i32>,
    /// `cursor.partialResultsReturned` is true.
    pub partial: bool,
    /// `done` of a SASL conversation.
    pub done: bool,
    /// `opTime.ts`: when the last write of the command was applied.
    pub op_time: Option<u64>,
    /// `retriedStmtIds` (of findAndModify, `retriedStmtId`) is present: some statements had been executed before.
    pub retried: bool,
    /// `$clusterTime` is present.
    pub has_cluster_time: bool,
    /// `errorLabels`, as a raw array.
    pub labels: Option<Box<[u8]>>,
    last_error_object: Option<Box<[u8]>>,
}

impl ReplyView {
    /// Reads a reply document. Broken BSON reads as a reply that isn't ok.
    pub fn read(body: &[u8]) -> ReplyView {
        let mut view = ReplyView::default();
        for field in doc::fields(body) {
            let Ok(field) = field else {
                return ReplyView::default();
            };
            let element = field.unnamed();
            match field.key() {
                b"ok" => view.ok = element.as_f64() == Some(1.0),
                b"code" => view.code = element.as_i32(),
                b"n" => view.n = element.as_i64(),
                b"nModified" => view.n_modified = element.as_i64(),
                b"upserted" => view.upserted = true,
                b"writeErrors" => view.write_errors = true,
                b"writeConcernError" => {
                    view.write_errors = true;
                    view.write_concern_code = element
                        .as_document()
                        .and_then(|error| doc::find(error, "code"))
                        .and_then(|code| code.as_i32());
                }
                b"opTime" => {
                    view.op_time = element
                        .as_document()
                        .and_then(|op| doc::find(op, "ts"))
                        .and_then(|ts| ts.as_timestamp());
                }
                b"retriedStmtIds" | b"retriedStmtId" => view.retried = true,
                b"errorLabels" => view.labels = element.as_array().map(Box::from),
                b"done" => view.done = element.is_truthy(),
                b"$clusterTime" => view.has_cluster_time = true,
                b"lastErrorObject" => {
                    view.last_error_object = element.as_document().map(Box::from);
                }
                b"cursor" => {
                    if let Some(cursor) = element.as_document() {
                        view.cursor_id = doc::find(cursor, "id").and_then(|id| id.as_i64());
                        view.partial = doc::find(cursor, "partialResultsReturned")
                            .is_some_and(|p| p.is_truthy());
                    }
                }
                _ if !field.is_named() => return ReplyView::default(),
                _ => {}
            }
        }
        view
    }

    /// Whether there may be something in it that a reply has only because of a `txnNumber`.
    pub fn may_tell_of_number(&self) -> bool {
        self.retried || self.labels.is_some()
    }

    /// Whether `errorLabels` holds `label`.
    pub fn has_label(&self, label: &str) -> bool {
        self.labels.as_deref().is_some_and(|labels| {
            doc::elements(labels).any(|l| l.is_ok_and(|l| l.as_str() == Some(label)))
        })
    }
}

/// Whether a reply is `ok` and has none of the fields by which a server says more than its result: errors,
/// labels, and what [`ReplyView`] has of them. Broken BSON isn't.
pub fn is_mere_success(body: &[u8]) -> bool {
    let mut ok = false;
    for field in doc::fields(body) {
        let Ok(field) = field else { return false };
        match field.key() {
            b"ok" => ok = field.unnamed().as_f64() == Some(1.0),
            b"code" | b"errmsg" | b"writeErrors" | b"writeConcernError" | b"errorLabels" => {
                return false;
            }
            _ if !field.is_named() => return false,
            _ => {}
        }
    }
    ok
}

/// When the only document that a command changed was changed, if the reply proves that there was
/// only one: its event in a change stream has this very cluster time.
pub fn only_change(command: &Command, reply: &ReplyView) -> Option<u64> {
    if !reply.ok || reply.write_errors || reply.retried {
        return None;
    }
    let (db, collection) = command.namespace();
    if matches!(db, b"local" | b"config" | b"admin") || collection.starts_with(b"system.") {
        // The change stream of a deployment doesn't report these databases. `local` and `system.profile` aren't replicated,
        // so the opTime in the reply is that of the last write on the link, which may be another client's. Of other
        // `system.` collections the events mean more than the write (`system.views`).
        return None;
    }
    let changed = match command.kind {
        Kind::Insert | Kind::Delete => reply.n,
        Kind::Update if reply.upserted => reply.n,
        Kind::Update => reply.n_modified,
        _ => None,
    };
    (changed == Some(1)).then_some(reply.op_time).flatten()
}

/// What a write's reply proves (docs/coherence.md, rule 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Proved: nothing changed.
    Unchanged,
    /// Something may have changed, and it is over.
    Changed,
    /// Documents that were there may have changed, and it is over: nothing was upserted.
    ChangedInPlace,
    /// The write may still land later.
    Unknown,
}

/// What the reply to `command` proves. `behind_mongos` widens what stays unknown:
/// mongos reports timeouts and kills of writes that may still be running on a shard.
pub fn effect(command: &Command, reply: &ReplyView, behind_mongos: bool) -> Effect {
    if !reply.ok {
        let unsettled = behind_mongos
            && reply
                .code
                .is_some_and(|c| UNSETTLED_BEHIND_MONGOS.contains(&c));
        return if unsettled {
            Effect::Unknown
        } else {
            Effect::Changed
        };
    }
    let nothing = match command.kind {
        _ if reply.write_errors || reply.upserted => false,
        Kind::Update => reply.n_modified == Some(0),
        Kind::Delete => reply.n == Some(0),
        Kind::FindAndModify => reply.last_error_object.as_deref().is_some_and(|last| {
            doc::find(last, "n").and_then(|n| n.as_i64()) == Some(0)
                && doc::find(last, "upserted").is_none()
        }),
        _ => false,
    };
    let upserts = matches!(command.kind, Kind::Update | Kind::FindAndModify);
    let upserted = reply.upserted
        || reply
            .last_error_object
            .as_deref()
            .is_some_and(|last| doc::find(last, "upserted").is_some());
    if nothing {
        Effect::Unchanged
    } else if upserts && !(upserted || reply.write_errors || reply.retried) {
        Effect::ChangedInPlace
    } else {
        Effect::Changed
    }
}

/// Timeouts, kills and lost connections: HostUnreachable, HostNotFound, MaxTimeMSExpired,
/// NetworkTimeout, ShutdownInProgress, PrimarySteppedDown, NetworkInterfaceExceededTimeLimit,
/// ExceededTimeLimit, SocketException, InterruptedAtShutdown, Interrupted,
/// InterruptedDueToReplStateChange (names from the server's error_codes.yml).
const UNSETTLED_BEHIND_MONGOS: [i32; 12] =
    [6, 7, 50, 89, 91, 189, 202, 262, 9001, 11600, 11601, 11602];

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use bytes::Bytes;

    use super::*;

    fn command(document: Document) -> Command {
        Command::parse_body(&Bytes::from(document.to_vec().unwrap())).unwrap()
    }

    fn proves(name: &str, reply: Document, mongos: bool) -> Effect {
        let bytes = reply.to_vec().unwrap();
        effect(
            &command(doc! {name: "c", "$db": "d"}),
            &ReplyView::read(&bytes),
            mongos,
        )
    }

    #[test]
    fn a_write_to_a_database_without_events_is_no_only_change() {
        let reply = doc! {"n": 1, "nModified": 1, "ok": 1.0,
        "opTime": {"ts": bson::Timestamp { time: 7, increment: 1 }, "t": 1_i64}};
        let reply = reply.to_vec().unwrap();
        let at = |db: &str| {
            let update = doc! {"update": "c", "$db": db};
            only_change(&command(update), &ReplyView::read(&reply))
        };
        assert!(at("game").is_some());
        assert_eq!(["local", "config", "admin"].map(at), [None; 3]);
        let views = doc! {"update": "system.views", "$db": "game"};
        assert_eq!(only_change(&command(views), &ReplyView::read(&reply)), None);
    }

    #[test]
    fn only_a_clean_reply_without_effect_proves_that_nothing_changed() {
        assert_eq!(
            proves("update", doc! {"n": 1, "nModified": 0, "ok": 1.0}, false),
            Effect::Unchanged
        );
        assert_eq!(
            proves("update", doc! {"n": 1, "nModified": 1, "ok": 1.0}, false),
            Effect::ChangedInPlace
        );
        assert_eq!(
            proves(
                "update",
                doc! {"n": 1, "nModified": 0, "upserted": [], "ok": 1.0},
                false
            ),
            Effect::Changed
        );
        assert_eq!(
            proves(
                "update",
                doc! {"n": 0, "nModified": 0, "writeErrors": [], "ok": 1.0},
                false
            ),
            Effect::Changed
        );
        assert_eq!(
            proves("delete", doc! {"n": 0, "ok": 1.0}, false),
            Effect::Unchanged
        );
        assert_eq!(
            proves("delete", doc! {"n": 2, "ok": 1.0}, false),
            Effect::Changed
        );
        assert_eq!(
            proves("insert", doc! {"n": 0, "ok": 1.0}, false),
            Effect::Changed
        );
        let upserted = doc! {"lastErrorObject": {"n": 1, "upserted": 5}, "value": null, "ok": 1.0};
        assert_eq!(proves("findAndModify", upserted, false), Effect::Changed);
        let missed =
            doc! {"lastErrorObject": {"n": 0, "updatedExisting": false}, "value": null, "ok": 1.0};
        assert_eq!(proves("findAndModify", missed, false), Effect::Unchanged);
    }

    #[test]
    fn an_error_never_proves_that_nothing_changed() {
        assert_eq!(
            proves("update", doc! {"ok": 0.0, "code": 50}, false),
            Effect::Changed
        );
        assert_eq!(
            proves("update", doc! {"ok": 0.0, "code": 50}, true),
            Effect::Unknown
        );
        assert_eq!(
            proves("update", doc! {"ok": 0.0, "code": 9}, true),
            Effect::Changed
        );
    }

    #[test]
    fn a_cursor_id_is_read_after_a_long_first_batch() {
        let reply =
            doc! {"cursor": {"firstBatch": [{"a": 1}], "id": 99_i64, "ns": "d.c"}, "ok": 1.0};
        assert_eq!(
            ReplyView::read(&reply.to_vec().unwrap()).cursor_id,
            Some(99)
        );
    }

    #[test]
    fn a_mere_success_has_nothing_in_it_that_anybody_heeds() {
        let is = |reply: Document| is_mere_success(&reply.to_vec().unwrap());
        assert!(is(doc! {"ok": 1}));
        assert!(is(
            doc! {"cursor": {"firstBatch": [{"errmsg": "a user's"}], "id": 7_i64}, "ok": 1.0, "operationTime": 3}
        ));
        let others = [
            doc! {},
            doc! {"n": 1},
            doc! {"ok": 0.0},
            doc! {"ok": 1.0, "code": 5},
            doc! {"ok": 1.0, "errmsg": "x"},
            doc! {"ok": 1.0, "writeErrors": []},
            doc! {"writeConcernError": {"code": 91}, "ok": 1.0},
            doc! {"errorLabels": ["RetryableWriteError"], "ok": 1.0},
        ];
        for other in others {
            assert!(!is(other.clone()), "{other}");
        }
        let mut broken = doc! {"ok": 1.0}.to_vec().unwrap();
        broken.pop();
        assert!(!is_mere_success(&broken));
        assert!(!is_mere_success(&[]));
    }
}
