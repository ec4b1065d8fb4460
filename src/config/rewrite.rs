//! `[rewrite]`: queries turned into cheaper ones of the same meaning, and rules of the operator's own.

use serde::{Deserialize, Serialize};

use super::rewrite_rule::UserRule;

/// `[rewrite]`: which rewrites are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rewrite {
    /// Whether queries are rewritten at all. (`rules` are applied in any case.)
    pub enabled: bool,
    /// Rewrites that are not made.
    pub off: Vec<RewriteRule>,
    /// What is different for some commands; the first that fits counts.
    pub rules: Vec<UserRule>,
}

impl Default for Rewrite {
    fn default() -> Self {
        Self {
            enabled: true,
            off: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// A rewrite by its name. What each does is in docs/rewriting.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewriteRule {
    /// A filter that matches nothing finds nothing, without a look at the collection.
    NoMatch,
    /// A condition that every document fulfils is left out.
    EveryMatch,
    /// `$exists: true` is left out beside a condition that implies it.
    ExistsImplied,
    /// `{$eq: v}`, `{$in: [v]}` and `{$all: [v]}` become `v`.
    PlainEquality,
    /// `$and` and `$or` within themselves, or of one condition, are dissolved.
    Flatten,
    /// `$or` of equalities on one path becomes `$in`.
    OrToIn,
    /// The values of `$in` and `$nin` are sorted, each once.
    SortedIn,
    /// `$project` right before a count is left out.
    ProjectBeforeCount,
    /// Accumulators of groups that are only counted are left out.
    CountOfGroups,
}

impl RewriteRule {
    /// How many there are.
    pub const COUNT: usize = RewriteRule::CountOfGroups as usize + 1;

    /// All, in order.
    pub const ALL: [RewriteRule; RewriteRule::COUNT] = [
        RewriteRule::NoMatch,
        RewriteRule::EveryMatch,
        RewriteRule::ExistsImplied,
        RewriteRule::PlainEquality,
        RewriteRule::Flatten,
        RewriteRule::OrToIn,
        RewriteRule::SortedIn,
        RewriteRule::ProjectBeforeCount,
        RewriteRule::CountOfGroups,
    ];

    /// The word used in proxy.toml, status, metrics and explain.
    pub fn as_str(self) -> &'static str {
        match self {
            RewriteRule::NoMatch => "no_match",
            RewriteRule::EveryMatch => "every_match",
            RewriteRule::ExistsImplied => "exists_implied",
            RewriteRule::PlainEquality => "plain_equality",
            RewriteRule::Flatten => "flatten",
            RewriteRule::OrToIn => "or_to_in",
            RewriteRule::SortedIn => "sorted_in",
            RewriteRule::ProjectBeforeCount => "project_before_count",
            RewriteRule::CountOfGroups => "count_of_groups",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_one_name_in_the_file_and_everywhere_else() {
        for (n, rule) in RewriteRule::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, n);
            let file = toml::Value::try_from(rule).unwrap();
            assert_eq!(file.as_str(), Some(rule.as_str()));
        }
    }
}
