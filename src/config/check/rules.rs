//! The cache, and rules by namespace, command and filter.

use std::time::Duration;

use super::Findings;
use crate::config::{Config, ExternalWrites, RuledCommand, UserRule};

pub(super) fn cache(config: &Config, found: &mut Findings) {
    let cache = &config.cache;
    if !cache.enabled {
        return;
    }
    if cache.max_size.as_u64() == 0 {
        found.add(
            &["cache.max_size", "cache.enabled"],
            "may not be 0 while cache.enabled is true",
            "give it a size, or set cache.enabled = false",
        );
    } else if cache.max_entry > cache.max_size {
        found.add(
            &["cache.max_entry", "cache.max_size"],
            format!(
                "{} is more than cache.max_size, {}",
                cache.max_entry, cache.max_size
            ),
            "make cache.max_size larger or cache.max_entry smaller",
        );
    }
    if cache.max_entry.as_u64() == 0 {
        found.add(
            &["cache.max_entry", "cache.enabled"],
            "may not be 0 while cache.enabled is true",
            "give it a size, or set cache.enabled = false",
        );
    }
    if cache.max_lag < SHORTEST_MAX_LAG {
        found.add(
            &["cache.max_lag", "cache.enabled"],
            "is shorter than 100ms: the watch would rarely be known to be so near",
            "use \"100ms\" or longer; \"1s\" suits most",
        );
    }
    if !(0.0..=1.0).contains(&cache.shadow_share) {
        found.add(
            &["cache.shadow_share"],
            format!("{} is not a share", cache.shadow_share),
            "use a number from 0 (no hit is compared) to 1 (all are)",
        );
    }
    for (n, rule) in (1..).zip(&cache.rules) {
        let mut wrong = |what: &str, help: &str| {
            let what = format!("rule {n} ({}) {what}", rule.namespace);
            found.add_item("cache.rules", n - 1, what, help);
        };
        filters(&rule.filter, &rule.filter_includes, &mut wrong);
        if rule.cache.is_none() && rule.ttl.is_none() && rule.max_entry.is_none() {
            wrong(
                "changes nothing",
                "give it cache = false, a ttl or a max_entry",
            );
        }
    }
    // Under watch too: it's what remains where there can't be one.
    if cache.external_writes != ExternalWrites::None && cache.ttl.is_zero() {
        found.add(
            &["cache.ttl", "cache.external_writes", "cache.enabled"],
            "may not be zero unless external_writes is \"none\": no entry would ever be served",
            "give it a time, set external_writes = \"none\" if all writes pass through this proxy, or set cache.enabled = false",
        );
    }
}

pub(super) fn user(config: &Config, found: &mut Findings) {
    let mut names: Vec<&str> = Vec::new();
    for (n, rule) in (1..).zip(&config.rewrite.rules) {
        let mut wrong = |what: &str, help: &str| {
            let what = format!("rule {n} ({}) {what}", rule.namespace);
            found.add_item("rewrite.rules", n - 1, what, help);
        };
        let changes = rule.hint.is_some()
            || rule.max_time.is_some()
            || rule.max_limit.is_some()
            || rule.read_preference.is_some();
        match &rule.deny {
            None if !changes => wrong(
                "changes nothing",
                "give it deny, hint, max_time, max_limit or read_preference",
            ),
            Some(_) if changes => wrong(
                "denies what it would change",
                "leave out deny, or hint, max_time, max_limit and read_preference",
            ),
            Some(text) if text.trim().is_empty() => {
                wrong("has an empty deny", "say why: clients are shown the text")
            }
            _ => {}
        }
        if rule.max_time.is_some_and(|limit| limit.as_millis() == 0) {
            wrong("has no max_time left", "use \"1ms\" or longer");
        }
        if rule.max_limit == Some(0) {
            wrong(
                "has a max_limit of 0",
                "use 1 or more; deny refuses the read",
            );
        }
        if rule.hint.as_ref().is_some_and(String::is_empty) {
            wrong("has an empty hint", "name an index, such as \"a_1\"");
        }
        filters(&rule.filter, &rule.filter_includes, &mut wrong);
        if let Some(command) = rule.command {
            misplaced(rule, command, &mut wrong);
        }
        if let Some(name) = &rule.name {
            if names.contains(&name.as_str()) {
                wrong("has the name of a rule before it", "give each its own name");
            }
            names.push(name);
        }
    }
}

/// What a rule says of the filters that it is about.
fn filters(
    exact: &Option<Vec<String>>,
    includes: &Option<Vec<String>>,
    wrong: &mut impl FnMut(&str, &str),
) {
    let Some(includes) = includes else { return };
    if exact.is_some() {
        wrong(
            "has both filter and filter_includes",
            "filter names all of the filter's fields, filter_includes some of them: leave one out",
        );
    }
    if includes.is_empty() {
        wrong(
            "has an empty filter_includes",
            "name fields, or leave it out",
        );
    }
}

/// What a rule says that its command can't be given.
fn misplaced(rule: &UserRule, command: RuledCommand, wrong: &mut impl FnMut(&str, &str)) {
    use RuledCommand::{Aggregate, Count, Find, Insert};
    let name = command.as_str();
    if rule.hint.is_some() && !matches!(command, Find | Aggregate | Count) {
        let what = format!("gives {name} a hint");
        wrong(&what, "hints are for find, aggregate and count");
    }
    if rule.max_limit.is_some() && !matches!(command, Find | Aggregate) {
        let what = format!("gives {name} a max_limit");
        wrong(&what, "max_limit is for find and aggregate");
    }
    if rule.read_preference.is_some() && !command.reads() {
        let what = format!("gives {name} a read_preference");
        wrong(&what, "writes go to the primary");
    }
    if (rule.filter.is_some() || rule.filter_includes.is_some()) && command == Insert {
        wrong(
            "wants a filter of insert, which has none",
            "leave filter out",
        );
    }
}

/// A round trip and the time between two polls of the primary must fit in.
const SHORTEST_MAX_LAG: Duration = Duration::from_millis(100);
