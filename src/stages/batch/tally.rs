//! What each update or delete of a batch did, as far as the server's reply tells.
//!
//! `bulkWrite` says it of each operation. An `update` or `delete` with several statements, each of
//! one document at most, has only totals; but it names the statements that failed, those that
//! inserted, and, when it is sent again as the same retryable write, those that it had run before
//! (`retriedStmtIds`). The server notes a statement as run exactly if it changed something. So
//! the totals of the rest tell of each of them whenever all of the rest did the same. If they
//! didn't, the rest had no effect, or is told of by sending the command once more: what is then in
//! `retriedStmtIds` changed its document, and what isn't had left no trace before and has been run
//! anew, for clients who have no answer yet: that is when they were executed.

use bytes::Bytes;

use super::split::{self, Share};
use crate::config::WriteKind;
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};

/// What became of one statement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Did<'a> {
    /// No document fitted.
    Nothing,
    /// A document fitted and is what it was.
    Matched,
    /// A document was changed, or deleted.
    Changed,
    /// A document was inserted; this is its `_id`.
    Upserted(Element<'a>),
    /// An error: nothing was done.
    Failed(&'a [u8]),
}

impl Did<'_> {
    fn n(self) -> i32 {
        match self {
            Did::Nothing | Did::Failed(_) => 0,
            Did::Matched | Did::Changed | Did::Upserted(_) => 1,
        }
    }

    fn modified(self) -> i32 {
        i32::from(matches!(self, Did::Changed))
    }
}

/// Of each of the `count` statements what it did, `None` where the totals don't tell. As a whole
/// `None` if the reply (`ok: 1`) doesn't add up.
pub(super) fn of_totals(
    reply: &[u8],
    kind: WriteKind,
    count: usize,
) -> Option<Vec<Option<Did<'_>>>> {
    let number = |key| usize::try_from(doc::find(reply, key)?.as_i64()?).ok();
    let list = |key| match doc::find(reply, key) {
        Some(list) => list.as_array(),
        None => Some(NONE),
    };
    let mut known: Vec<Option<Did<'_>>> = vec![None; count];
    for error in doc::elements(list("writeErrors")?) {
        let error = error.ok()?.as_document()?;
        *known.get_mut(index(error)?)? = Some(Did::Failed(error));
    }
    for upserted in doc::elements(list("upserted")?) {
        let upserted = upserted.ok()?.as_document()?;
        let id = doc::find(upserted, "_id")?;
        *known.get_mut(index(upserted)?)? = Some(Did::Upserted(id));
    }
    for statement in doc::elements(list("retriedStmtIds")?) {
        let statement = usize::try_from(statement.ok()?.as_i64()?).ok()?;
        known.get_mut(statement)?.get_or_insert(Did::Changed);
    }
    let told = known.iter().flatten();
    let told_n = told.clone().filter(|did| did.n() == 1).count();
    let told_modified = told.filter(|did| did.modified() == 1).count();
    let rest = known.iter().filter(|d| d.is_none()).count();
    let matched = number("n")?.checked_sub(told_n)?;
    let modified = match kind {
        WriteKind::Update => number("nModified")?.checked_sub(told_modified)?,
        WriteKind::Insert | WriteKind::Delete => matched,
    };
    if modified > matched || matched > rest {
        return None;
    }
    let all = match (matched, modified) {
        (0, 0) => Some(Did::Nothing),
        (n, 0) if n == rest => Some(Did::Matched),
        (n, m) if n == rest && m == rest => Some(Did::Changed),
        _ => None,
    };
    known.iter_mut().for_each(|did| *did = did.or(all));
    Some(known)
}

/// Of each of the `count` operations of a `bulkWrite` what it did. `None` if that isn't what the
/// results say.
pub(super) fn of_results(results: &[Bytes], kind: WriteKind, count: usize) -> Option<Vec<Did<'_>>> {
    let mut known: Vec<Option<Did<'_>>> = vec![None; count];
    for result in results {
        let at = usize::try_from(doc::find(result, "idx")?.as_i64()?).ok()?;
        let place = known.get_mut(at)?;
        if place.replace(of_result(result, kind)?).is_some() {
            return None;
        }
    }
    known.into_iter().collect()
}

fn of_result(result: &[u8], kind: WriteKind) -> Option<Did<'_>> {
    let number = |key| doc::find(result, key)?.as_i64();
    if doc::find(result, "ok")?.as_f64()? != 1.0 {
        return Some(Did::Failed(result));
    }
    if let Some(upserted) = doc::find(result, "upserted") {
        let id = doc::find(upserted.as_document()?, "_id")?;
        return Some(Did::Upserted(id));
    }
    let n = number("n")?;
    let modified = match kind {
        WriteKind::Update => number("nModified")?,
        WriteKind::Insert | WriteKind::Delete => n,
    };
    match (n, modified) {
        (0, 0) => Some(Did::Nothing),
        (1, 0) => Some(Did::Matched),
        (1, 1) => Some(Did::Changed),
        _ => None,
    }
}

fn index(of: &[u8]) -> Option<usize> {
    usize::try_from(doc::find(of, "index")?.as_i64()?).ok()
}

/// One client's reply, cut out of that to an `update` or `delete`, in the server's own order.
pub(super) fn reply_of_totals(reply: &[u8], kind: WriteKind, share: &Share, did: Did<'_>) -> Bytes {
    let mut body = DocBuf::with_capacity(reply.len().min(512));
    for element in doc::elements(reply).flatten() {
        match element.key {
            "n" | "nModified" | "writeErrors" | "upserted" => {
                append(&mut body, element.key, kind, did);
            }
            _ => split::pass_on(&mut body, &element, share.labelled),
        }
    }
    body.finish_bytes()
}

/// One client's reply, made of that to a `bulkWrite`: what the server says to the client's own
/// command, in its order.
pub(super) fn reply_of_bulk(reply: &[u8], kind: WriteKind, share: &Share, did: Did<'_>) -> Bytes {
    let mut body = DocBuf::with_capacity(512);
    append(&mut body, "n", kind, did);
    for key in ["electionId", "opTime"] {
        if let Some(element) = doc::find(reply, key) {
            body.append_raw(element.raw);
        }
    }
    append(&mut body, "upserted", kind, did);
    append(&mut body, "nModified", kind, did);
    for element in doc::elements(reply).flatten() {
        if !OF_BULK.contains(&element.key) {
            split::pass_on(&mut body, &element, share.labelled);
        }
    }
    body.finish_bytes()
}

fn append(body: &mut DocBuf, key: &str, kind: WriteKind, did: Did<'_>) {
    match (key, did) {
        ("n", _) => {
            body.append_i32("n", did.n());
        }
        ("nModified", _) if kind == WriteKind::Update => {
            body.append_i32("nModified", did.modified());
        }
        ("upserted", Did::Upserted(id)) => {
            body.append_array("upserted", |list| {
                list.push_doc_with(|own| {
                    own.append_i32("index", 0).append_raw(id.raw);
                });
            });
        }
        ("writeErrors", Did::Failed(error)) => {
            body.append_array("writeErrors", |list| {
                list.push_doc_with(|own| split::renumbered(own, error, 0));
            });
        }
        _ => {}
    }
}

/// An empty list.
const NONE: &[u8] = &[5, 0, 0, 0, 0];

/// What a `bulkWrite` says of all its operations, or has been said already.
const OF_BULK: [&str; 9] = [
    "cursor",
    "nErrors",
    "nInserted",
    "nMatched",
    "nModified",
    "nUpserted",
    "nDeleted",
    "electionId",
    "opTime",
];

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    const SHARE: Share = Share {
        first: 0,
        count: 1,
        labelled: true,
    };

    /// Letters for what each statement did; `?` where it isn't known.
    fn updates(reply: Document, count: usize) -> Option<String> {
        letters(reply, WriteKind::Update, count)
    }

    fn letters(reply: Document, kind: WriteKind, count: usize) -> Option<String> {
        let bytes = reply.to_vec().unwrap();
        let letter = |did: Option<Did<'_>>| match did {
            None => '?',
            Some(Did::Nothing) => 'n',
            Some(Did::Matched) => 'm',
            Some(Did::Changed) => 'c',
            Some(Did::Upserted(_)) => 'u',
            Some(Did::Failed(_)) => 'f',
        };
        Some(
            of_totals(&bytes, kind, count)?
                .into_iter()
                .map(letter)
                .collect(),
        )
    }

    #[test]
    fn totals_tell_of_each_statement_if_all_did_the_same() {
        let totals = |n: i32, modified: i32| updates(doc! {"n": n, "nModified": modified}, 3);
        assert_eq!(totals(3, 3).unwrap(), "ccc");
        assert_eq!(totals(3, 0).unwrap(), "mmm");
        assert_eq!(totals(0, 0).unwrap(), "nnn");
        for (n, modified) in [(3, 1), (2, 2), (1, 0), (2, 1)] {
            assert_eq!(totals(n, modified).unwrap(), "???");
        }
        for (n, modified) in [(4, 4), (2, 3)] {
            assert_eq!(totals(n, modified), None);
        }
        let deleted = |n: i32| letters(doc! {"n": n}, WriteKind::Delete, 2);
        assert_eq!(deleted(2).unwrap(), "cc");
        assert_eq!(deleted(0).unwrap(), "nn");
        assert_eq!(deleted(1).unwrap(), "??");
    }

    #[test]
    fn errors_inserts_and_what_was_run_before_are_told_apart() {
        // As 6.0.5 answers a batch that is sent again.
        let reply = doc! {
            "n": 5, "writeErrors": [{"index": 5, "code": 66}], "retriedStmtIds": [0, 3, 4],
            "upserted": [{"index": 3, "_id": 5000}], "nModified": 3,
        };
        assert_eq!(updates(reply, 6).unwrap(), "c??ucf");
        let rest = doc! {"n": 3, "retriedStmtIds": [0], "nModified": 1};
        assert_eq!(updates(rest, 3).unwrap(), "cmm");
        let beyond = doc! {"n": 0, "nModified": 0, "writeErrors": [{"index": 9}]};
        assert_eq!(updates(beyond, 3), None);
    }

    #[test]
    fn a_client_gets_its_part_in_the_servers_order() {
        let reply = doc! {
            "n": 2, "electionId": 1, "opTime": 2, "writeErrors": [{"index": 5, "code": 66, "errmsg": "x"}],
            "retriedStmtIds": [1], "upserted": [{"index": 3, "_id": 5000}], "nModified": 1, "ok": 1.0,
        };
        let bytes = reply.to_vec().unwrap();
        let part = |did| {
            let part = reply_of_totals(&bytes, WriteKind::Update, &SHARE, did);
            Document::from_reader(part.as_ref()).unwrap()
        };
        let error = doc! {"index": 5, "code": 66, "errmsg": "x"}
            .to_vec()
            .unwrap();
        assert_eq!(
            part(Did::Failed(&error)).to_string(),
            doc! {"n": 0, "electionId": 1, "opTime": 2, "writeErrors": [{"index": 0, "code": 66, "errmsg": "x"}], "nModified": 0, "ok": 1.0}.to_string()
        );
        let id = doc! {"_id": 5000}.to_vec().unwrap();
        let id = doc::find(&id, "_id").unwrap();
        assert_eq!(
            part(Did::Upserted(id)).to_string(),
            doc! {"n": 1, "electionId": 1, "opTime": 2, "upserted": [{"index": 0, "_id": 5000}], "nModified": 0, "ok": 1.0}.to_string()
        );
    }

    #[test]
    fn a_bulk_writes_results_are_told_apart_by_their_index() {
        let results: Vec<Bytes> = [
            doc! {"ok": 1.0, "idx": 1, "n": 1, "nModified": 1},
            doc! {"ok": 1.0, "idx": 0, "n": 1, "nModified": 0, "upserted": {"_id": 7}},
            doc! {"ok": 0.0, "idx": 2, "code": 66, "n": 0},
        ]
        .iter()
        .map(|d| d.to_vec().unwrap().into())
        .collect();
        let known = of_results(&results, WriteKind::Update, 3).unwrap();
        assert!(matches!(
            known.as_slice(),
            [Did::Upserted(_), Did::Changed, Did::Failed(_)]
        ));
        assert!(of_results(&results, WriteKind::Update, 4).is_none());
        assert!(of_results(&results, WriteKind::Update, 2).is_none());
        let bulk = doc! {
            "cursor": {"id": 0_i64}, "nErrors": 1, "nModified": 1, "ok": 1.0, "opTime": 5, "operationTime": 6,
        };
        let part = reply_of_bulk(&bulk.to_vec().unwrap(), WriteKind::Update, &SHARE, known[0]);
        assert_eq!(
            Document::from_reader(part.as_ref()).unwrap().to_string(),
            doc! {"n": 1, "opTime": 5, "upserted": [{"index": 0, "_id": 7}], "nModified": 0, "ok": 1.0, "operationTime": 6}.to_string()
        );
    }
}
