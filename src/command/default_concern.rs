//! What the server says of the deployment's default read concern.

use super::ReplyView;
use crate::wire::doc;

/// Whether a read without a read concern has `local`, by the reply to `getDefaultRWConcern`. `None`: it doesn't say.
#[must_use]
pub fn default_reads_are_local(reply: &[u8]) -> Option<bool> {
    let view = ReplyView::read(reply);
    if !view.ok {
        return NO_DEFAULTS.contains(&view.code?).then_some(true);
    }
    let concern = doc::find(reply, "defaultReadConcern").and_then(|c| c.as_document());
    let level = concern.and_then(|concern| doc::find(concern, "level"));
    // Where none is set, the server's own is local.
    Some(level.is_none_or(|level| level.as_str() == Some("local")))
}

/// `CommandNotFound` (before MongoDB 4.4), and "not supported on standalone nodes".
const NO_DEFAULTS: [i32; 2] = [59, 51300];

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    #[test]
    fn the_default_is_local_unless_the_server_says_another() {
        let local = |reply: Document| default_reads_are_local(&reply.to_vec().unwrap());
        let level = |level: &str| doc! {"defaultReadConcern": {"level": level}, "ok": 1.0};
        assert_eq!(local(level("local")), Some(true));
        assert_eq!(local(level("majority")), Some(false));
        assert_eq!(local(level("available")), Some(false));
        assert_eq!(
            local(doc! {"defaultWriteConcern": {"w": 1}, "ok": 1.0}),
            Some(true)
        );
        assert_eq!(local(doc! {"ok": 0.0, "code": 59}), Some(true));
        assert_eq!(local(doc! {"ok": 0.0, "code": 51300}), Some(true));
        assert_eq!(local(doc! {"ok": 0.0, "code": 13}), None);
        assert_eq!(local(doc! {"ok": 0.0}), None);
    }
}
