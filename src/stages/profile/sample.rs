//! Real commands, with their values, for the advisor to have them explained. They are kept in
//! memory only, a few of each shape, and leave it for MongoDB alone.

use crate::command::{Command, Kind, first_statement};
use crate::wire::build::DocBuf;
use crate::wire::doc;
use crate::wire::op_msg::OpMsg;

/// Whether commands like this have a plan that advice can be given about.
pub(super) fn is_wanted(command: &Command) -> bool {
    let has_a_plan = matches!(
        command.kind,
        Kind::Find
            | Kind::Aggregate
            | Kind::Count
            | Kind::Distinct
            | Kind::Update
            | Kind::Delete
            | Kind::FindAndModify
    );
    let internal = matches!(command.db(), "admin" | "config" | "local");
    let system = |name: &str| name.starts_with("system.");
    has_a_plan && !internal && !command.collection().is_none_or(system)
}

/// The command document, without what belongs to its session, with its first statement in it.
/// `None` if it is too big, or nested deeper than servers allow.
pub(super) fn take(command: &Command, msg: &OpMsg) -> Option<Box<[u8]>> {
    let mut out = DocBuf::new();
    for element in doc::elements(command.body()) {
        let element = element.ok()?;
        match element.key {
            "lsid" | "txnNumber" | "startTransaction" | "autocommit" | "$clusterTime"
            | "readConcern" | "writeConcern" | "$readPreference" | "comment" | "maxTimeMS"
            | "stmtId" | "stmtIds" | "updates" | "deletes" => {}
            _ => drop(out.append_raw(element.raw)),
        }
    }
    let name = match command.kind {
        Kind::Update => Some("updates"),
        Kind::Delete => Some("deletes"),
        _ => None,
    };
    if let Some(name) = name {
        let mut list = DocBuf::new();
        list.append_value("0", doc::kind::DOCUMENT, first_statement(command, msg)?);
        out.append_value(name, doc::kind::ARRAY, &list.finish());
    }
    let sample = out.finish();
    let is_fit = sample.len() <= LARGEST && doc::check_deep(&sample, doc::MAX_DEPTH).is_ok();
    is_fit.then(|| sample.into())
}

/// Samples kept of a shape.
pub(super) const MOST: usize = 3;

/// Seconds between two samples.
pub(super) const EVERY: u32 = 5;

/// Largest sample kept, bytes.
const LARGEST: usize = 8 * 1024;
