//! What the configuration says of a read by its namespace, command and filter.

use std::time::Duration;

use crate::command::{Bypass, Command, filters};
use crate::config::{self, CacheRule};

/// How the answer of one read is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub ttl: Option<Duration>,
    pub max_entry: usize,
}

/// The terms for a read, or that it isn't cached.
pub(super) fn terms(config: &config::Cache, command: &Command) -> Result<Terms, Bypass> {
    let (db, collection) = (command.db(), command.collection().unwrap_or_default());
    if config
        .bypass_namespaces
        .iter()
        .any(|p| p.matches(db, collection))
    {
        return Err(Bypass::Namespace);
    }
    let rule = config.rules.iter().find(|rule| {
        rule.namespace.matches(db, collection)
            && rule.command.is_none_or(|c| c.as_str() == command.name())
            && rule
                .filter
                .as_ref()
                .is_none_or(|fields| filters(command, &[]).any_names(fields))
            && rule
                .filter_includes
                .as_ref()
                .is_none_or(|fields| filters(command, &[]).any_includes(fields))
    });
    if rule.is_some_and(|rule| rule.cache == Some(false)) {
        return Err(Bypass::Rule);
    }
    let max_entry = rule
        .and_then(|r: &CacheRule| r.max_entry)
        .unwrap_or(config.max_entry);
    Ok(Terms {
        ttl: rule.and_then(|rule| rule.ttl),
        max_entry: usize::try_from(max_entry.as_u64()).unwrap_or(usize::MAX),
    })
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use bytes::Bytes;

    use super::*;

    fn config() -> config::Cache {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = r#"
            [cache]
            bypass_namespaces = ["d.never"]
            [[cache.rules]]
            namespace = "d.c"
            command = "find"
            filter = ["guild", "user"]
            ttl = "5s"
            [[cache.rules]]
            namespace = "d.c"
            command = "aggregate"
            cache = false
            [[cache.rules]]
            namespace = "d.c"
            filter_includes = ["secret"]
            cache = false
            [[cache.rules]]
            namespace = "d.*"
            max_entry = "1KiB"
            "#;
        std::fs::write(file.path(), text).unwrap();
        config::Config::load(Some(file.path()), &[]).unwrap().cache
    }

    fn of(document: Document) -> Result<(Option<u64>, usize), Bypass> {
        let body = Bytes::from(document.to_vec().unwrap());
        let terms = terms(&config(), &Command::parse_body(&body).unwrap())?;
        Ok((terms.ttl.map(|ttl| ttl.as_secs()), terms.max_entry))
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let mine = doc! {"find": "c", "filter": {"user": 1, "guild": 2}, "$db": "d"};
        assert_eq!(of(mine), Ok((Some(5), 1 << 20)));
        let other = doc! {"find": "c", "filter": {"user": 1}, "$db": "d"};
        assert_eq!(of(other), Ok((None, 1024)));
        let sums = doc! {"aggregate": "c", "pipeline": [], "cursor": {}, "$db": "d"};
        assert_eq!(of(sums), Err(Bypass::Rule));
        let secret = doc! {"find": "c", "filter": {"user": 1, "secret": 2}, "$db": "d"};
        assert_eq!(of(secret), Err(Bypass::Rule));
        assert_eq!(
            of(doc! {"find": "never", "$db": "d"}),
            Err(Bypass::Namespace)
        );
        assert_eq!(of(doc! {"find": "c", "$db": "e"}), Ok((None, 1 << 20)));
    }
}
