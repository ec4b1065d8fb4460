//! The values that a dotted path leads to in a document, as the server's matcher walks it.
//!
//! An array on the way is walked through: each document in it is another document for the rest
//! of the path. A number in the path is also a position, besides being a field name, and what is
//! at that position is taken as it is. A path that breaks off leads to a missing value, except
//! inside arrays, where only documents count.

use super::super::path::is_numeric;
use super::super::value::Tri;
use super::{Matcher, Scope};
use crate::wire::doc::{Element, elements, kind};

/// What becomes of an array at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    /// Its elements are asked, then the array itself.
    Elements,
    /// Only the array itself is asked.
    Whole,
}

impl Matcher {
    /// Asks every value at `path` (`None` where it is missing) until one says Yes.
    ///
    /// Unknown also if the path isn't one that is read the same way everywhere.
    pub(super) fn any_at<'a>(
        &self,
        scope: Scope<'a>,
        path: &str,
        leaf: Leaf,
        ask: &mut impl FnMut(Option<Element<'a>>) -> Tri,
    ) -> Tri {
        let odd = |part: &str| part.is_empty() || part.starts_with('$');
        if path.split('.').any(odd) || path.split('.').count() > MAX_PARTS {
            return Tri::Unknown;
        }
        self.document(scope, path, leaf, ask)
    }

    fn document<'a>(
        &self,
        scope: Scope<'a>,
        path: &str,
        leaf: Leaf,
        ask: &mut impl FnMut(Option<Element<'a>>) -> Tri,
    ) -> Tri {
        let (mut scope, mut path) = (scope, path);
        loop {
            let (part, rest) = split(path);
            let Ok((found, passed)) = field(scope.document, part) else {
                return Tri::Unknown;
            };
            // (Eight fields that are passed cost about as much as a value that is looked at.)
            if !self.spend(8 * passed) || found.is_none() && scope.partial {
                return Tri::Unknown;
            }
            match (found, rest) {
                (Some(found), _) if found.kind == kind::ARRAY => {
                    return self.array(found, rest, leaf, ask);
                }
                (Some(found), Some(rest)) if found.kind == kind::DOCUMENT => {
                    (scope, path) = (Scope::whole(found.value), rest);
                }
                (_, Some(_)) => return ask(None),
                (found, None) => return ask(found),
            }
        }
    }

    fn array<'a>(
        &self,
        array: Element<'a>,
        path: Option<&str>,
        leaf: Leaf,
        ask: &mut impl FnMut(Option<Element<'a>>) -> Tri,
    ) -> Tri {
        if path.is_none() && leaf == Leaf::Whole {
            return ask(Some(array));
        }
        let mut sum = Tri::No;
        for item in elements(array.value) {
            let Some(item) = item.ok().filter(|_| self.spend(0)) else {
                return Tri::Unknown;
            };
            let answer = match path {
                None => ask(Some(item)),
                Some(path) => self.item(item, path, leaf, ask),
            };
            sum = sum.or(answer);
            if sum == Tri::Yes {
                return sum;
            }
        }
        match path {
            None => sum.or(ask(Some(array))),
            Some(_) => sum,
        }
    }

    /// An element of an array in the middle of a path.
    fn item<'a>(
        &self,
        item: Element<'a>,
        path: &str,
        leaf: Leaf,
        ask: &mut impl FnMut(Option<Element<'a>>) -> Tri,
    ) -> Tri {
        let (part, rest) = split(path);
        let mut sum = Tri::No;
        if item.kind == kind::DOCUMENT {
            sum = self.document(Scope::whole(item.value), path, leaf, ask);
        }
        if sum == Tri::Yes || item.key != part || !is_numeric(part) {
            return sum;
        }
        sum.or(match (rest, item.kind) {
            (None, _) => ask(Some(item)),
            (Some(rest), kind::DOCUMENT) => {
                self.document(Scope::whole(item.value), rest, leaf, ask)
            }
            (Some(_), kind::ARRAY) => self.array(item, rest, leaf, ask),
            _ => Tri::No,
        })
    }
}

fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('.') {
        Some((part, rest)) => (part, Some(rest)),
        None => (path, None),
    }
}

/// The first field called `key`, and how many stand before it; an error if the document is broken before it.
fn field<'a>(document: &'a [u8], key: &str) -> Result<(Option<Element<'a>>, usize), ()> {
    let mut passed = 0;
    for element in elements(document) {
        let element = element.map_err(drop)?;
        if element.key == key {
            return Ok((Some(element), passed));
        }
        passed += 1;
    }
    Ok((None, passed))
}

/// Longer paths aren't walked.
const MAX_PARTS: usize = 100;
