//! The few edits that Petiole makes to messages. Everything else is forwarded as it came.

use bytes::Bytes;

use super::Command;
use crate::wire::build::{self, DocBuf};
use crate::wire::doc;
use crate::wire::op_msg::{self, OpMsg};

/// The same message, asking for a reply: flag `moreToCome` cleared and `w: 0` raised to
/// `w: 1`, for a write that the client doesn't wait for (DESIGN §4 rule 6).
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

/// The same message with another `maxTimeMS`: less the time that it waited here.
pub fn with_max_time(request_id: i32, msg: &OpMsg, command: &Command, max_time_ms: u64) -> Bytes {
    let mut body = DocBuf::new();
    for element in doc::elements(command.body()).flatten() {
        if element.key == "maxTimeMS" {
            body.append_i64("maxTimeMS", i64::try_from(max_time_ms).unwrap_or(i64::MAX));
        } else {
            body.append_raw(element.raw);
        }
    }
    rebuild(request_id, msg, &body.finish())
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
        let (_, document) = body_of(with_max_time(7, &msg, &command, 320));
        assert_eq!(
            document,
            doc! {"insert": "c", "maxTimeMS": 320_i64, "$db": "d"}
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
