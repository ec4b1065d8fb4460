//! Regular expressions without an engine: a literal anywhere in the string, or at its start.
//!
//! Those are the ones whose meaning isn't in doubt; of others it is only known that they match
//! strings, and regular expressions that are the same.

use super::super::value::{Tri, text};
use crate::wire::doc::{Element, elements, kind};

#[derive(Clone, Copy)]
pub(super) struct Regex<'a> {
    pattern: &'a [u8],
    options: &'a [u8],
}

impl<'a> Regex<'a> {
    /// Of a regular expression value.
    pub(super) fn of(value: &Element<'a>) -> Option<Regex<'a>> {
        let mut parts = value.value.split(|byte| *byte == 0);
        let (pattern, options) = (parts.next()?, parts.next()?);
        (value.kind == kind::REGEX).then_some(Regex { pattern, options })
    }

    /// Of `{$regex: pattern, $options: options}`; the options may come first, or not at all.
    pub(super) fn of_operators(operators: &'a [u8]) -> Option<Regex<'a>> {
        let mut regex = None;
        let mut options = None;
        for operator in elements(operators) {
            let operator = operator.ok()?;
            match operator.key {
                "$regex" if regex.is_some() => return None,
                "$regex" if operator.kind == kind::REGEX => regex = Some(Regex::of(&operator)?),
                "$regex" => {
                    let pattern = operator.as_str()?.as_bytes();
                    regex = Some(Regex {
                        pattern,
                        options: &[],
                    });
                }
                "$options" if options.is_some() => return None,
                "$options" => options = Some(operator.as_str()?.as_bytes()),
                _ => {}
            }
        }
        let regex = regex?;
        match options {
            Some(_) if !regex.options.is_empty() => None,
            Some(options) => Some(Regex { options, ..regex }),
            None => Some(regex),
        }
    }

    pub(super) fn matches(&self, found: Option<Element<'_>>) -> Tri {
        match found {
            Some(found) if found.kind == kind::STRING => match text(&found) {
                Some(text) => self.matches_text(text),
                None => Tri::Unknown,
            },
            Some(found) if found.kind == kind::SYMBOL => Tri::Unknown,
            Some(found) if found.kind == kind::REGEX => match Regex::of(&found) {
                Some(other) if other.pattern != self.pattern => Tri::No,
                Some(other) if other.options == self.options => Tri::Yes,
                _ => Tri::Unknown,
            },
            _ => Tri::No,
        }
    }

    fn matches_text(&self, text: &[u8]) -> Tri {
        let (start, literal) = match self.pattern.strip_prefix(b"^") {
            Some(literal) => (true, literal),
            None => (false, self.pattern),
        };
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || PLAIN.contains(byte);
        if !self.options.is_empty() || literal.is_empty() || !literal.iter().all(plain) {
            return Tri::Unknown;
        }
        let (Ok(text), Ok(literal)) = (std::str::from_utf8(text), std::str::from_utf8(literal))
        else {
            return Tri::Unknown;
        };
        if text.contains('\0') {
            return Tri::Unknown;
        }
        // (`contains` takes a time that is linear in both, whatever they are.)
        match start {
            true => text.starts_with(literal).into(),
            false => text.contains(literal).into(),
        }
    }
}

/// Characters besides letters and digits that stand for themselves everywhere.
const PLAIN: &[u8] = b" _-:/@,;=%&'\"!<>~";
