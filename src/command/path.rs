//! Sets of field paths: what a filter, a sort, a projection or an update touches.
//!
//! A path of one set meets one of another if it is the other, a parent of it or a child of it.
//! Array positions aren't told apart: numeric components are dropped. The first component is never a position, since a
//! document isn't an array: `815.coins` is a field of the field `815`.

/// A set of field paths without array positions, or every path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Paths {
    all: bool,
    /// Sorted, each once.
    list: Vec<String>,
    /// Bytes of all of them.
    bytes: usize,
}

impl Paths {
    /// No path.
    #[must_use]
    pub fn none() -> Paths {
        Paths::default()
    }

    /// Every path.
    #[must_use]
    pub fn all() -> Paths {
        Paths {
            all: true,
            ..Paths::default()
        }
    }

    /// Adds a path. A set that would hold more than `MOST` (256) paths, or more than 16 KiB of them, holds every
    /// path instead: less is known of it then, and the work for one command stays bounded.
    pub fn insert(&mut self, path: &str) {
        if self.all {
            return;
        }
        if path.len() > MOST_BYTES || path.matches('.').count() >= MOST_PARTS {
            *self = Paths::all();
            return;
        }
        let parts = path.split('.').enumerate();
        let kept = parts.filter(|(at, part)| *at == 0 || !is_numeric(part));
        let path = kept.map(|(_, part)| part).collect::<Vec<_>>().join(".");
        if let Err(at) = self.list.binary_search(&path) {
            self.bytes += path.len();
            if self.list.len() >= MOST || self.bytes > MOST_BYTES {
                *self = Paths::all();
                return;
            }
            self.list.insert(at, path);
        }
    }

    /// Adds all paths of another set.
    pub fn extend(&mut self, other: &Paths) {
        if other.all {
            *self = Paths::all();
        }
        for path in &other.list {
            self.insert(path);
        }
    }

    /// True if it holds every path.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// True if it holds no path.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.list.is_empty()
    }

    /// How many paths are told apart; none if it is every path.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The paths, in order; none if it is every path.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(String::as_str)
    }

    /// True if a path here and a path there are the same or one lies in the other.
    #[must_use]
    pub fn meets(&self, other: &Paths) -> bool {
        if self.all || other.all {
            return !self.is_empty() && !other.is_empty();
        }
        if self.list.len() * other.list.len() > FEW_PAIRS {
            return self.holds_one_around(other) || other.holds_one_around(self);
        }
        self.iter()
            .any(|a| other.iter().any(|b| one_in_the_other(a, b)))
    }

    /// Whether a path here is one of the others, or one of them lies in it.
    fn holds_one_around(&self, others: &Paths) -> bool {
        let holds = |path: &str| self.list.binary_search_by(|p| p.as_str().cmp(path)).is_ok();
        others.iter().any(|other| {
            let ends = other.match_indices('.').map(|(at, _)| at);
            ends.chain([other.len()])
                .any(|end| other.get(..end).is_some_and(holds))
        })
    }
}

fn one_in_the_other(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let rest = long.strip_prefix(short);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Most paths of a set that are told apart. Commands that applications send name a few dozen at most.
pub(super) const MOST: usize = 256;

/// Most bytes of them.
const MOST_BYTES: usize = 16 * 1024;

/// Most components of a path. The server allows fewer than 200 levels.
const MOST_PARTS: usize = 100;

/// As many pairs are compared one by one, which is quicker than to look up every part of every path.
const FEW_PAIRS: usize = 64;

/// True for an array position.
#[must_use]
pub(super) fn is_numeric(component: &str) -> bool {
    !component.is_empty() && component.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: &[&str]) -> Paths {
        let mut paths = Paths::none();
        list.iter().for_each(|path| paths.insert(path));
        paths
    }

    #[test]
    fn paths_meet_if_one_is_a_prefix_of_the_other_by_components() {
        for (a, b) in [("a", "a"), ("a", "a.b"), ("a.b.c", "a.b"), ("a.0.b", "a.b")] {
            assert!(paths(&["x", a]).meets(&paths(&[b, "y"])), "{a} {b}");
            assert!(paths(&[b]).meets(&paths(&[a])), "{b} {a}");
        }
        for (a, b) in [("a", "b"), ("a", "ab"), ("a.b", "a.c"), ("a.b", "a.bc")] {
            assert!(!paths(&[a]).meets(&paths(&[b])), "{a} {b}");
            assert!(!paths(&[b]).meets(&paths(&[a])), "{b} {a}");
        }
    }

    #[test]
    fn every_path_meets_all_but_the_empty_set() {
        assert!(Paths::all().meets(&paths(&["a"])));
        assert!(Paths::all().meets(&Paths::all()));
        assert!(!Paths::all().meets(&Paths::none()));
        assert!(!paths(&["a"]).meets(&Paths::none()));
    }

    #[test]
    fn a_numeric_first_component_is_a_field_and_no_position() {
        let set = paths(&["815.coins.0", "0"]);
        assert_eq!(set.iter().collect::<Vec<_>>(), ["0", "815.coins"]);
        assert!(!paths(&["815.coins"]).meets(&paths(&["coins"])));
        assert!(paths(&["815.coins"]).meets(&paths(&["815"])));
    }

    #[test]
    fn a_set_that_grows_too_large_holds_every_path() {
        let mut set = Paths::none();
        for i in 0..MOST {
            set.insert(&format!("f{i}"));
        }
        assert!(!set.is_all());
        set.insert("f0");
        assert!(!set.is_all(), "a path that it holds adds nothing");
        set.insert("one_more");
        assert!(set.is_all());
    }

    #[test]
    fn a_set_of_long_paths_holds_every_path() {
        let long = ["a".repeat(MOST_BYTES / 2), "b".repeat(MOST_BYTES / 2)];
        let mut set = paths(&[&long[0], &long[1]]);
        assert!(!set.is_all());
        set.insert("c");
        assert!(set.is_all());
        assert!(paths(&[&"a".repeat(MOST_BYTES + 1)]).is_all());
    }

    #[test]
    fn large_sets_meet_exactly_where_some_of_their_paths_do() {
        let names = ["a", "a.b", "a.b.c", "a-b", "a.bc", "b", "b.c", "ab"];
        let filler: Vec<String> = (0..100).map(|i| format!("x{i}.y")).collect();
        for one in names {
            for other in names {
                let mut large = paths(&[one]);
                filler.iter().for_each(|path| large.insert(path));
                let expected = one_in_the_other(one, other);
                assert_eq!(large.meets(&paths(&[other])), expected, "{one} {other}");
                assert_eq!(paths(&[other]).meets(&large), expected, "{other} {one}");
            }
        }
    }

    #[test]
    fn positions_are_dropped_and_each_path_is_kept_once() {
        let set = paths(&["b", "a.1.c", "a.c", "a.2", "b"]);
        assert_eq!(set.iter().collect::<Vec<_>>(), ["a", "a.c", "b"]);
        let mut set = paths(&["a"]);
        set.extend(&paths(&["b"]));
        assert_eq!(set, paths(&["a", "b"]));
        set.extend(&Paths::all());
        assert!(set.is_all());
        set.insert("c");
        assert_eq!(set, Paths::all());
    }
}
