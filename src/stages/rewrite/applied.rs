//! A set of rules.

use crate::config::RewriteRule;

/// Which rules; never allocates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied(u16);

impl Applied {
    /// None of them.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a rule is in it.
    pub fn has(self, rule: RewriteRule) -> bool {
        self.0 & (1 << rule as u16) != 0
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Applied) -> Applied {
        Applied(self.0 | other.0)
    }

    /// One by one.
    pub fn iter(self) -> impl Iterator<Item = RewriteRule> {
        RewriteRule::ALL.into_iter().filter(move |r| self.has(*r))
    }
}

impl FromIterator<RewriteRule> for Applied {
    fn from_iter<I: IntoIterator<Item = RewriteRule>>(rules: I) -> Applied {
        Applied(rules.into_iter().fold(0, |set, r| set | 1 << r as u16))
    }
}

// Every rule has a bit.
const _: () = assert!(RewriteRule::COUNT <= 16);
