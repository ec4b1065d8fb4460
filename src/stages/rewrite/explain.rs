//! `explain` tells what became of the explained command.

use super::rewriter::{Rewriter, Rewritten};
use crate::command::{Command, Kind};
use crate::pipeline::{Reply, Request};
use crate::wire::build::DocBuf;
use crate::wire::doc;

/// An `explain` of a command that is rewritten: the whole new document, and what is in it.
pub(super) fn explained(rewriter: &Rewriter, request: &Request) -> Option<(Vec<u8>, Rewritten)> {
    let body = request.command.body();
    let inner = doc::find(body, "explain")?.as_document()?;
    if matches!(request.command.db(), "admin" | "config" | "local") {
        return None;
    }
    let name = doc::elements(inner).next()?.ok()?.key;
    let rewritten = rewriter.rewrite(Kind::of(name), inner)?;
    let mut out = DocBuf::with_capacity(body.len() + 64);
    for element in doc::elements(body) {
        let element = element.ok()?;
        if element.key == "explain" {
            out.append_doc("explain", &rewritten.body);
        } else {
            out.append_raw(element.raw);
        }
    }
    Some((out.finish(), rewritten))
}

/// Whether the client asked for an explanation.
pub(super) fn wants_to_know(command: &Command) -> bool {
    match command.kind {
        Kind::Aggregate => doc::find(command.body(), "explain").is_some_and(|e| e.is_truthy()),
        kind => kind == Kind::Read,
    }
}

/// The reply with a field `petiole` at its end: `{rewritten: [rule, …], command: {…}}`.
pub(super) fn with_rewrite(request: &Request, reply: &Reply, rewritten: &Rewritten) -> Reply {
    let mut out = DocBuf::with_capacity(reply.body().len() + rewritten.body.len() + 128);
    for element in doc::elements(reply.body()) {
        let Ok(element) = element else {
            return reply.clone();
        };
        out.append_raw(element.raw);
    }
    let names: Vec<&str> = rewritten.rules.iter().map(|rule| rule.as_str()).collect();
    out.append_doc_with("petiole", |petiole| {
        petiole.append_strs("rewritten", &names);
        petiole.append_doc("command", &rewritten.body);
    });
    Reply::document(&request.frame, &out.finish())
}
