//! No real host name reaches a client: server addresses in answers to
//! administrative commands, and in error texts, become the address that the client knows.
//!
//! Only commands that report on servers are looked into; documents of users never are.

use crate::command::Kind;
use crate::pipeline::{Reply, Request};
use crate::wire::build;
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};

/// Replaces `addresses` in `reply` by `advertised`. To be asked first: [`may_name_servers`].
pub(super) fn disguise(
    request: &Request,
    reply: Reply,
    addresses: &[String],
    advertised: &str,
) -> Reply {
    let body = reply.body();
    let reports = REPORTS.contains(&request.command.name());
    let mask = Mask {
        addresses,
        advertised,
    };
    let Some(document) = mask.document(body, reports, 0) else {
        return reply;
    };
    let header = reply.frame().header();
    Reply::message(build::op_msg(
        header.request_id,
        header.response_to,
        0,
        &document,
    ))
}

/// Whether the reply may name servers: it answers a command that reports on them, or is an error.
/// Cheap, for it runs on every reply from a server.
pub(super) fn may_name_servers(request: &Request, reply: &Reply) -> bool {
    let kind = request.command.kind;
    if matches!(kind, Kind::Read | Kind::Unknown | Kind::Upkeep)
        && REPORTS.contains(&request.command.name())
    {
        return true;
    }
    // An error is short.
    !reply.is_mere_success()
        && reply.frame().len() < LONGEST_ERROR
        && doc::find(reply.body(), "errmsg").is_some()
}

struct Mask<'a> {
    addresses: &'a [String],
    advertised: &'a str,
}

impl Mask<'_> {
    /// A copy with every address replaced; `None` if the document can't be read.
    fn document(&self, document: &[u8], reports: bool, depth: u32) -> Option<Vec<u8>> {
        let mut out = DocBuf::with_capacity(document.len());
        for element in doc::elements(document) {
            self.element(&element.ok()?, reports, depth, &mut out)?;
        }
        Some(out.finish())
    }

    fn element(
        &self,
        element: &Element<'_>,
        reports: bool,
        depth: u32,
        out: &mut DocBuf,
    ) -> Option<()> {
        let key = self.text(element.key);
        let inner = element.as_document().or(element.as_array());
        match (inner, element.as_str()) {
            (Some(inner), _) if depth < MAX_DEPTH => {
                let masked = match element.key {
                    "serverInfo" if reports => self.server_info(inner)?,
                    _ => self.document(inner, reports, depth + 1)?,
                };
                out.append_value(&key, element.kind, &masked);
            }
            // serverStatus names the machine at the top.
            (_, Some(_)) if reports && depth == 0 && element.key == "host" => {
                out.append_str("host", self.advertised);
            }
            (_, Some(text)) => {
                out.append_str(&key, &self.text(text));
            }
            _ => {
                out.append_value(&key, element.kind, element.value);
            }
        }
        Some(())
    }

    /// `explain` says which machine it ran on.
    fn server_info(&self, info: &[u8]) -> Option<Vec<u8>> {
        let (host, port) = self
            .advertised
            .rsplit_once(':')
            .unwrap_or((self.advertised, "0"));
        let mut out = DocBuf::with_capacity(info.len());
        for element in doc::elements(info) {
            let element = element.ok()?;
            match element.key {
                "host" => out.append_str("host", host),
                "port" => out.append_i32("port", port.parse().unwrap_or(0)),
                _ => out.append_raw(element.raw),
            };
        }
        Some(out.finish())
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for address in self.addresses {
            if text.contains(address.as_str()) {
                text = text.replace(address.as_str(), self.advertised);
            }
        }
        text
    }
}

/// Commands whose answers name servers.
const REPORTS: [&str; 13] = [
    "replSetGetStatus",
    "replSetGetConfig",
    "serverStatus",
    "getCmdLineOpts",
    "connPoolStats",
    "explain",
    "currentOp",
    "listShards",
    "getShardMap",
    "hostInfo",
    "getLog",
    "buildInfo",
    "shardConnPoolStats",
];
const MAX_DEPTH: u32 = 100;
const LONGEST_ERROR: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::pipeline::scripted::request;

    fn run(command: Document, reply: Document) -> Document {
        let request = request(&command);
        let reply = Reply::document(&request.frame, &reply.to_vec().unwrap());
        let out = disguise(
            &request,
            reply,
            &["db1.example:27017".to_owned()],
            "proxy:1",
        );
        Document::from_reader(&mut out.body()).unwrap()
    }

    #[test]
    fn reports_and_errors_name_the_proxy() {
        let status =
            doc! {"members": [{"name": "db1.example:27017", "n": 1}], "host": "db1", "ok": 1.0};
        let masked = run(doc! {"replSetGetStatus": 1, "$db": "admin"}, status);
        assert_eq!(
            masked,
            doc! {"members": [{"name": "proxy:1", "n": 1}], "host": "proxy:1", "ok": 1.0}
        );
        let error = doc! {"ok": 0.0, "errmsg": "not primary; try db1.example:27017", "code": 10107};
        let masked = run(doc! {"find": "c", "$db": "d"}, error);
        assert_eq!(
            masked.get_str("errmsg").ok(),
            Some("not primary; try proxy:1")
        );
        let plan = doc! {"serverInfo": {"host": "db1", "port": 27017, "version": "6"}, "ok": 1.0};
        let masked = run(doc! {"explain": {}, "$db": "d"}, plan);
        assert_eq!(
            masked,
            doc! {"serverInfo": {"host": "proxy", "port": 1, "version": "6"}, "ok": 1.0}
        );
    }

    #[test]
    fn documents_of_users_are_not_touched() {
        let found =
            doc! {"cursor": {"firstBatch": [{"url": "db1.example:27017"}], "id": 0_i64}, "ok": 1.0};
        let request = request(&doc! {"find": "c", "$db": "d"});
        let reply = Reply::document(&request.frame, &found.to_vec().unwrap());
        assert!(!may_name_servers(&request, &reply));
    }
}
