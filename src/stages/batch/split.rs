//! From the reply to a batch of inserts to each client's own (for the others see [`super::tally`]).
//!
//! The server's own fields are kept in its own order; `n` and `writeErrors` are each client's,
//! with its own indexes. An insert that isn't in `writeErrors` has been inserted, which is what
//! makes `n` exact; if the reply's total says otherwise, nothing is concluded from it.

use bytes::Bytes;

use crate::command::labels;
use crate::config::WriteKind;
use crate::pipeline::Reply;
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};

/// A client's part in a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Its first document in the batch.
    pub first: usize,
    /// How many documents.
    pub count: usize,
    /// Whether the client sent a retryable write: the server labels errors for such only.
    pub labelled: bool,
}

/// Splits the reply (`ok: 1`) to a batch; `None` if it doesn't add up. `shares` follow each other.
///
/// Most clients are told the same: without an error, a reply is made once for all whose share is alike.
pub(super) fn split(reply: &[u8], shares: &[Share]) -> Option<Vec<Reply>> {
    let elements: Vec<Element<'_>> = doc::elements(reply).collect::<Result<_, _>>().ok()?;
    let errors = errors(&elements)?;
    let total: usize = shares.iter().map(|s| s.count).sum();
    let n = elements.iter().find(|e| e.key == "n")?.as_i64()?;
    if usize::try_from(n).ok()? + errors.len() != total {
        return None;
    }
    let mut rest = errors.as_slice();
    let mut parts = Vec::with_capacity(shares.len());
    let mut last: Option<(&Share, Reply)> = None;
    for share in shares {
        let mine = rest.partition_point(|(index, _)| *index < share.first + share.count);
        let (own, others) = rest.split_at_checked(mine)?;
        rest = others;
        if let Some((alike, reply)) = &last
            && own.is_empty()
            && (alike.count, alike.labelled) == (share.count, share.labelled)
        {
            parts.push(reply.clone());
            continue;
        }
        let reply = Reply::for_several(&part(&elements, share, own)?);
        if own.is_empty() {
            last = Some((share, reply.clone()));
        }
        parts.push(reply);
    }
    rest.is_empty().then_some(parts)
}

/// A reply that goes to each client of a batch as it is, but for what only retryable writes get.
pub(super) fn whole(reply: &[u8], labelled: bool) -> Bytes {
    let mut body = DocBuf::with_capacity(reply.len());
    for element in doc::elements(reply).flatten() {
        pass_on(&mut body, &element, labelled);
    }
    body.finish_bytes()
}

/// The answer to a client's retry: what the first try was answered, and the statements that were
/// not run again: those that had changed something. `None` for an error of the whole command: it ran
/// none.
pub(super) fn retried(answer: &[u8], kind: WriteKind, count: usize) -> Option<Bytes> {
    let elements: Vec<Element<'_>> = doc::elements(answer).collect::<Result<_, _>>().ok()?;
    let ok = elements.iter().find(|e| e.key == "ok")?;
    if ok.as_f64()? != 1.0 {
        return None;
    }
    let failed = errors(&elements)?;
    let number = |key| {
        let element = elements.iter().find(|e| e.key == key);
        element.and_then(|e| e.as_i64()).unwrap_or(0)
    };
    let has_run = |index: usize| match kind {
        WriteKind::Insert => failed.binary_search_by_key(&index, |(i, _)| *i).is_err(),
        WriteKind::Update => {
            number("nModified") > 0 || elements.iter().any(|e| e.key == "upserted")
        }
        WriteKind::Delete => number("n") > 0,
    };
    let run: Vec<usize> = (0..count).filter(|index| has_run(*index)).collect();
    let mut body = DocBuf::with_capacity(answer.len() + 64);
    let mut is_said = run.is_empty();
    for element in &elements {
        if !is_said
            && matches!(
                element.key,
                "upserted" | "nModified" | "writeConcernError" | "ok"
            )
        {
            is_said = true;
            body.append_array("retriedStmtIds", |ids| {
                for index in &run {
                    ids.push_i32(*index as i32);
                }
            });
        }
        body.append_raw(element.raw);
    }
    Some(body.finish_bytes())
}

/// Whether `maxTimeMS` ended the wait for the write concern.
pub(super) fn has_write_concern_timeout(reply: &[u8]) -> bool {
    let error = doc::find(reply, "writeConcernError").and_then(|e| e.as_document());
    error.and_then(|e| doc::find(e, "code")?.as_i32()) == Some(super::MAX_TIME_MS_EXPIRED)
}

/// Which statements failed with this code.
pub(super) fn failed_with(reply: &[u8], code: i32) -> Vec<usize> {
    let list = doc::find(reply, "writeErrors").and_then(|e| e.as_array());
    let errors = list.into_iter().flat_map(doc::elements).flatten();
    let index = |error: Element<'_>| {
        let error = error.as_document()?;
        let is_it = self::code(error)? == code;
        let index = usize::try_from(doc::find(error, "index")?.as_i64()?).ok()?;
        is_it.then_some(index)
    };
    errors.filter_map(index).collect()
}

/// The code of a statement's error.
pub(super) fn code(error: &[u8]) -> Option<i32> {
    doc::find(error, "code")?.as_i32()
}

/// `writeErrors`, by index.
fn errors<'a>(elements: &[Element<'a>]) -> Option<Vec<(usize, &'a [u8])>> {
    let Some(list) = elements.iter().find(|e| e.key == "writeErrors") else {
        return Some(Vec::new());
    };
    let mut errors = Vec::new();
    for error in doc::elements(list.as_array()?) {
        let error = error.ok()?.as_document()?;
        let index = doc::find(error, "index")?.as_i64()?;
        errors.push((usize::try_from(index).ok()?, error));
    }
    errors.sort_unstable_by_key(|(index, _)| *index);
    Some(errors)
}

fn part(elements: &[Element<'_>], share: &Share, errors: &[(usize, &[u8])]) -> Option<Bytes> {
    let mut body = DocBuf::with_capacity(256);
    for element in elements {
        match element.key {
            "n" => {
                body.append_i32("n", i32::try_from(share.count - errors.len()).ok()?);
            }
            "writeErrors" if errors.is_empty() => {}
            "writeErrors" => {
                body.append_array("writeErrors", |list| {
                    for (index, error) in errors {
                        list.push_doc_with(|own| renumbered(own, error, index - share.first));
                    }
                });
            }
            _ => pass_on(&mut body, element, share.labelled),
        }
    }
    Some(body.finish_bytes())
}

/// A field of the server's reply that is the same for every client, or nothing.
pub(super) fn pass_on(body: &mut DocBuf, element: &Element<'_>, labelled: bool) {
    match element.key {
        // They speak of the proxy's own retry.
        "retriedStmtIds" => {}
        "errorLabels" if !labelled => append_labels(body, element),
        _ => {
            body.append_raw(element.raw);
        }
    }
}

/// The labels that writes get also if they have no number.
fn append_labels(body: &mut DocBuf, element: &Element<'_>) {
    let all = doc::elements(element.as_array().unwrap_or_default()).flatten();
    let is_of_any =
        |label: &&str| ![labels::RETRYABLE_WRITE, labels::NO_WRITES_PERFORMED].contains(label);
    let mut own = all
        .filter_map(|label| label.as_str())
        .filter(is_of_any)
        .peekable();
    if own.peek().is_some() {
        body.append_array("errorLabels", |list| {
            for label in own {
                list.push_str(label);
            }
        });
    }
}

pub(super) fn renumbered(own: &mut DocBuf, error: &[u8], index: usize) {
    for element in doc::elements(error).flatten() {
        if element.key == "index" {
            own.append_i32("index", index as i32);
        } else {
            own.append_raw(element.raw);
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn shares(counts: &[usize]) -> Vec<Share> {
        let mut first = 0;
        let share = |&count: &usize| {
            let share = Share {
                first,
                count,
                labelled: first == 0,
            };
            first += count;
            share
        };
        counts.iter().map(share).collect()
    }

    fn parts(reply: Document, counts: &[usize]) -> Option<Vec<Document>> {
        let parts = split(&reply.to_vec().unwrap(), &shares(counts))?;
        let read = |p: &Reply| Document::from_reader(p.body()).unwrap();
        Some(parts.iter().map(read).collect())
    }

    #[test]
    fn each_client_gets_its_own_errors_under_its_own_indexes_in_the_servers_order_of_fields() {
        let error = |index: i32, id: i32| doc! {"index": index, "code": 11000, "errmsg": "dup", "keyPattern": {"_id": 1}, "keyValue": {"_id": id}};
        let reply = doc! {
            "n": 4, "electionId": 9, "opTime": {"t": 1}, "writeErrors": [error(0, 5), error(4, 7)],
            "writeConcernError": {"code": 100}, "retriedStmtIds": [1], "ok": 1.0, "operationTime": 3,
        };
        let parts = parts(reply, &[1, 2, 3]).unwrap();
        let tail = doc! {"writeConcernError": {"code": 100}, "ok": 1.0, "operationTime": 3};
        let expected = |n: i32, errors: Option<Document>| {
            let mut reply = doc! {"n": n, "electionId": 9, "opTime": {"t": 1}};
            if let Some(error) = errors {
                reply.insert("writeErrors", vec![error]);
            }
            reply.extend(tail.clone());
            reply
        };
        assert_eq!(
            parts,
            [
                expected(0, Some(error(0, 5))),
                expected(2, None),
                expected(2, Some(error(1, 7)))
            ]
        );
        let keys: Vec<_> = parts[2].keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "n",
                "electionId",
                "opTime",
                "writeErrors",
                "writeConcernError",
                "ok",
                "operationTime"
            ]
        );
    }

    #[test]
    fn a_reply_that_does_not_add_up_is_not_split() {
        assert!(parts(doc! {"n": 2, "ok": 1.0}, &[1, 2]).is_none());
        assert!(parts(doc! {"ok": 1.0}, &[1]).is_none());
        let beyond = doc! {"n": 1, "writeErrors": [{"index": 7, "code": 1}], "ok": 1.0};
        assert!(parts(beyond, &[1, 1]).is_none());
        assert!(parts(doc! {"n": 1, "writeErrors": ["x"], "ok": 1.0}, &[1, 1]).is_none());
    }

    #[test]
    fn labels_of_retryable_writes_go_to_those_only() {
        let reply = doc! {"n": 2, "errorLabels": ["RetryableWriteError"], "ok": 1.0};
        let parts = parts(reply.clone(), &[1, 1]).unwrap();
        assert_eq!(
            parts,
            [
                doc! {"n": 1, "errorLabels": ["RetryableWriteError"], "ok": 1.0},
                doc! {"n": 1, "ok": 1.0}
            ]
        );
        let unlabelled = |reply: Document| {
            let bytes = whole(&reply.to_vec().unwrap(), false);
            Document::from_reader(bytes.as_ref()).unwrap()
        };
        assert_eq!(unlabelled(reply), doc! {"n": 2, "ok": 1.0});
        let both = ["RetryableWriteError", "SystemOverloadedError"];
        let overload = doc! {"errorLabels": both.as_slice(), "ok": 0.0};
        let label = ["SystemOverloadedError"];
        assert_eq!(
            unlabelled(overload),
            doc! {"errorLabels": label.as_slice(), "ok": 0.0}
        );
    }

    #[test]
    fn a_retrys_answer_names_the_statements_that_had_been_run() {
        let late = doc! {"n": 1, "writeConcernError": {"code": 100}, "ok": 1.0};
        let bytes = retried(&late.to_vec().unwrap(), WriteKind::Insert, 1).unwrap();
        let read = Document::from_reader(bytes.as_ref()).unwrap();
        let keys: Vec<_> = read.keys().map(String::as_str).collect();
        assert_eq!(keys, ["n", "retriedStmtIds", "writeConcernError", "ok"]);
        let answer = doc! {"n": 2, "writeErrors": [{"index": 1, "code": 2}], "ok": 1.0};
        let bytes = retried(&answer.to_vec().unwrap(), WriteKind::Insert, 3).unwrap();
        let expected = doc! {"n": 2, "writeErrors": [{"index": 1, "code": 2}], "retriedStmtIds": [0, 2], "ok": 1.0};
        assert_eq!(Document::from_reader(bytes.as_ref()).unwrap(), expected);
        let refused = doc! {"ok": 0.0, "errmsg": "no", "code": 13};
        assert!(retried(&refused.to_vec().unwrap(), WriteKind::Insert, 1).is_none());
        let update = |answer: Document| {
            let bytes = retried(&answer.to_vec().unwrap(), WriteKind::Update, 1).unwrap();
            Document::from_reader(bytes.as_ref()).unwrap().to_string()
        };
        assert_eq!(
            update(doc! {"n": 1, "nModified": 1, "ok": 1.0}),
            doc! {"n": 1, "retriedStmtIds": [0], "nModified": 1, "ok": 1.0}.to_string()
        );
        let without_effect = doc! {"n": 1, "nModified": 0, "ok": 1.0};
        assert_eq!(update(without_effect.clone()), without_effect.to_string());
    }
}
