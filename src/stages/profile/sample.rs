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

/// Bytes of a sample beyond which it is kept alone: lists of values are as long as people ask for, and a few of them
/// would cost more than all else that is kept of a shape.
pub(super) const SMALL: usize = 4 * 1024;

/// Largest sample kept, bytes: a list of some 900 ids.
const LARGEST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use bson::{Bson, doc, oid::ObjectId};
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_long_list_of_ids_is_a_sample_and_a_very_long_one_is_not() {
        let taken = |ids: usize| {
            let ids: Vec<Bson> = (0..ids).map(|_| ObjectId::new().into()).collect();
            let find = doc! {"find": "t", "filter": {"author": {"$in": ids}}, "$db": "d"};
            let body = Bytes::from(find.to_vec().unwrap());
            take(&Command::parse_body(&body).unwrap(), &OpMsg::default()).is_some()
        };
        assert!(taken(20) && taken(600));
        assert!(!taken(5000));
    }
}
