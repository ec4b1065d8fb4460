//! The few edits that Petiole makes to messages. Everything else is forwarded as it came.

use bytes::Bytes;

use super::{Command, FieldName, labels};
use crate::wire::build::{self, DocBuf};
use crate::wire::doc;
use crate::wire::op_msg::{self, OpMsg};

/// The same message, asking for a reply: flag `moreToCome` cleared and `w: 0` raised to
/// `w: 1`, for a write that the client doesn't wait for (docs/coherence.md, rule 6).
pub fn acknowledged(request_id: i32, msg: &OpMsg, command: &Command) -> Bytes {
    let mut body = DocBuf::new();
    for element in doc::elements(command.body()).flatten() {
        if element.key == "writeConcern" && command.unacknowledged {
            body.append_doc_with("writeConcern", |concern| {
                concern.append_i32("w", 1);
            });
        } else {
            body.append_raw(element.raw);
        }
    }
    rebuild(request_id, msg, &body.finish())
}

/// The same message with another `maxTimeMS` (less the time that it waited here), and with a comment (a whole element).
pub fn outgoing(
    request_id: i32,
    msg: &OpMsg,
    command: &Command,
    max_time_ms: Option<u64>,
    comment: Option<&[u8]>,
) -> Bytes {
    let mut body = DocBuf::with_capacity(command.body().len() + 128);
    for element in doc::elements(command.body()).flatten() {
        match max_time_ms {
            Some(left) if element.key == "maxTimeMS" => {
                body.append_i64("maxTimeMS", i64::try_from(left).unwrap_or(i64::MAX));
            }
            _ => {
                body.append_raw(element.raw);
            }
        }
    }
    if let Some(comment) = comment {
        body.append_raw(comment);
    }
    rebuild(request_id, msg, &body.finish())
}

/// The same write as a retryable one of a session of the proxy's own: `lsid` replaced or added,
/// `txnNumber` added.
pub fn numbered(
    request_id: i32,
    msg: &OpMsg,
    command: &Command,
    session: &[u8; 16],
    number: i64,
) -> Bytes {
    let mut body = DocBuf::with_capacity(command.body().len() + 64);
    for (name, field) in command.fields() {
        if name != FieldName::Lsid {
            body.append_raw(field.raw());
        }
    }
    body.append_doc_with("lsid", |lsid| {
        lsid.append_binary("id", 4, session);
    });
    body.append_i64("txnNumber", number);
    rebuild(request_id, msg, &body.finish())
}

/// A commit that is sent again: with write concern majority, so that it isn't answered for by a
/// member that may lose it ("Transactions" specification).
pub fn commit_again(request_id: i32, msg: &OpMsg, command: &Command) -> Bytes {
    let concern = doc::find(command.body(), "writeConcern").and_then(|c| c.as_document());
    let mut body = DocBuf::with_capacity(command.body().len() + 64);
    for element in doc::elements(command.body()).flatten() {
        if element.key != "writeConcern" {
            body.append_raw(element.raw);
        }
    }
    body.append_doc_with("writeConcern", |again| {
        let mut is_limited = false;
        for element in concern.into_iter().flat_map(doc::elements).flatten() {
            is_limited |= element.key == "wtimeout";
            if element.key != "w" {
                again.append_raw(element.raw);
            }
        }
        again.append_str("w", "majority");
        if !is_limited {
            again.append_i32("wtimeout", 10_000);
        }
    });
    rebuild(request_id, msg, &body.finish())
}

/// A reply to a write that the proxy had numbered, as it would be without: no traces of a retry,
/// and no labels that the server gives to numbered writes only. `None` if there is nothing to take
/// out.
pub fn without_retry_marks(reply: &[u8]) -> Option<Bytes> {
    let is_mark = |key: &str| matches!(key, "retriedStmtIds" | "retriedStmtId" | "errorLabels");
    if !doc::elements(reply).flatten().any(|e| is_mark(e.key)) {
        return None;
    }
    let mut body = DocBuf::with_capacity(reply.len());
    for element in doc::elements(reply).flatten() {
        match element.as_array() {
            Some(labels) if element.key == "errorLabels" => {
                let kept: Vec<&str> = doc::elements(labels)
                    .flatten()
                    .filter_map(|l| l.as_str())
                    .filter(|l| {
                        !matches!(*l, labels::RETRYABLE_WRITE | labels::NO_WRITES_PERFORMED)
                    })
                    .collect();
                if !kept.is_empty() {
                    body.append_strs("errorLabels", &kept);
                }
            }
            _ if is_mark(element.key) => {}
            _ => {
                body.append_raw(element.raw);
            }
        }
    }
    Some(Bytes::from(body.finish()))
}

/// The same message with another body.
pub fn with_body(request_id: i32, msg: &OpMsg, body: &[u8]) -> Bytes {
    rebuild(request_id, msg, body)
}

fn rebuild(request_id: i32, msg: &OpMsg, body: &[u8]) -> Bytes {
    let flags = msg.flags & !(op_msg::CHECKSUM_PRESENT | op_msg::MORE_TO_COME);
    let sequences: Vec<(&str, &[u8])> = msg
        .sequences
        .iter()
        .map(|s| (s.identifier.as_str(), s.documents.as_ref()))
        .collect();
    build::op_msg_with_sequences(request_id, 0, flags, body, &sequences)
}

/// A reply document without `$clusterTime`, exactly sized, for storing.
pub fn without_cluster_time(reply: &[u8]) -> Bytes {
    let mut body = DocBuf::with_capacity(reply.len());
    for element in doc::elements(reply).flatten() {
        if element.key != "$clusterTime" {
            body.append_raw(element.raw);
        }
    }
    Bytes::from(body.finish())
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::wire::frame::Frame;

    fn message(document: Document, flags: u32) -> (OpMsg, Command) {
        let body = document.to_vec().unwrap();
        let docs = doc! {"_id": 1}.to_vec().unwrap();
        let bytes = build::op_msg_with_sequences(7, 0, flags, &body, &[("documents", &docs)]);
        let msg = OpMsg::parse(&Frame { bytes }).unwrap();
        let command = Command::parse(&msg).unwrap();
        (msg, command)
    }

    fn body_of(bytes: Bytes) -> (OpMsg, Document) {
        let msg = OpMsg::parse(&Frame { bytes }).unwrap();
        let document = Document::from_reader(&mut msg.body.clone().unwrap().as_ref()).unwrap();
        (msg, document)
    }

    #[test]
    fn an_unacknowledged_write_is_made_to_answer_and_keeps_its_documents() {
        let insert = doc! {"insert": "c", "writeConcern": {"w": 0}, "x": 1, "$db": "d"};
        let (msg, command) = message(insert, op_msg::MORE_TO_COME);
        let (out, document) = body_of(acknowledged(7, &msg, &command));
        assert_eq!(out.flags & op_msg::MORE_TO_COME, 0);
        assert_eq!(
            document,
            doc! {"insert": "c", "writeConcern": {"w": 1}, "x": 1, "$db": "d"}
        );
        assert_eq!(out.sequences.len(), 1);
        assert_eq!(out.sequences[0].documents, msg.sequences[0].documents);
    }

    #[test]
    fn max_time_is_replaced_in_place() {
        let (msg, command) = message(doc! {"insert": "c", "maxTimeMS": 500, "$db": "d"}, 0);
        let (_, document) = body_of(outgoing(7, &msg, &command, Some(320), None));
        assert_eq!(
            document,
            doc! {"insert": "c", "maxTimeMS": 320_i64, "$db": "d"}
        );
    }

    #[test]
    fn a_numbered_write_differs_in_its_session_only() {
        let insert = doc! {"insert": "c", "lsid": {"id": 1}, "ordered": true, "$db": "d"};
        let (msg, command) = message(insert, 0);
        let (out, document) = body_of(numbered(7, &msg, &command, &[9; 16], 3));
        let id = bson::Binary {
            subtype: bson::spec::BinarySubtype::Uuid,
            bytes: vec![9; 16],
        };
        assert_eq!(
            document,
            doc! {"insert": "c", "ordered": true, "$db": "d", "lsid": {"id": id}, "txnNumber": 3_i64}
        );
        assert_eq!(out.sequences[0].documents, msg.sequences[0].documents);
    }

    #[test]
    fn a_commit_is_sent_again_with_majority_and_keeps_its_time_limit() {
        let again = |document: Document| {
            let (msg, command) = message(document, 0);
            body_of(commit_again(7, &msg, &command)).1
        };
        assert_eq!(
            again(doc! {"commitTransaction": 1, "$db": "admin"}),
            doc! {"commitTransaction": 1, "$db": "admin", "writeConcern": {"w": "majority", "wtimeout": 10_000}}
        );
        let own = doc! {"commitTransaction": 1, "writeConcern": {"w": 1, "wtimeout": 5, "j": true}};
        assert_eq!(
            again(own),
            doc! {"commitTransaction": 1, "writeConcern": {"wtimeout": 5, "j": true, "w": "majority"}}
        );
    }

    #[test]
    fn marks_of_a_retry_are_taken_out_and_other_labels_stay() {
        let clean = |reply: Document| {
            without_retry_marks(&reply.to_vec().unwrap())
                .map(|bytes| Document::from_reader(&mut bytes.as_ref()).unwrap())
        };
        assert_eq!(clean(doc! {"n": 1, "ok": 1.0}), None);
        assert_eq!(
            clean(doc! {"n": 1, "retriedStmtIds": [0], "ok": 1.0}),
            Some(doc! {"n": 1, "ok": 1.0})
        );
        let labels = ["RetryableWriteError", "SystemOverloadedError"];
        assert_eq!(
            clean(doc! {"ok": 0.0, "errorLabels": labels.to_vec()}),
            Some(doc! {"ok": 0.0, "errorLabels": ["SystemOverloadedError"]})
        );
        assert_eq!(
            clean(doc! {"ok": 0.0, "errorLabels": ["RetryableWriteError"]}),
            Some(doc! {"ok": 0.0})
        );
    }

    #[test]
    fn the_stored_reply_keeps_all_but_cluster_time() {
        let reply =
            doc! {"cursor": {"id": 0_i64}, "ok": 1.0, "$clusterTime": {"x": 1}, "operationTime": 5};
        let kept = without_cluster_time(&reply.to_vec().unwrap());
        let kept = Document::from_reader(&mut kept.as_ref()).unwrap();
        assert_eq!(
            kept,
            doc! {"cursor": {"id": 0_i64}, "ok": 1.0, "operationTime": 5}
        );
    }
}
