//! Two BSON values: are they equal, which comes first?
//!
//! As the server's matcher has it: numbers of all types by value, other types only among
//! themselves, documents field by field in order. Three-valued: whatever depends on a collation,
//! on a retired type or on more digits than are exact here is [`Tri::Unknown`].

use std::cmp::Ordering;
use std::ops::Not;

use super::number::{EXACT, Number};
use crate::wire::doc::{Element, elements, kind};

/// The answer to a question that can't always be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tri {
    /// Certainly not.
    No,
    /// Certainly.
    Yes,
    /// Either.
    Unknown,
}

impl Tri {
    /// Both.
    #[must_use]
    pub fn and(self, other: Tri) -> Tri {
        match (self, other) {
            (Tri::No, _) | (_, Tri::No) => Tri::No,
            (Tri::Yes, Tri::Yes) => Tri::Yes,
            _ => Tri::Unknown,
        }
    }

    /// At least one.
    #[must_use]
    pub fn or(self, other: Tri) -> Tri {
        !((!self).and(!other))
    }
}

impl Not for Tri {
    type Output = Tri;

    fn not(self) -> Tri {
        match self {
            Tri::No => Tri::Yes,
            Tri::Yes => Tri::No,
            Tri::Unknown => Tri::Unknown,
        }
    }
}

impl From<bool> for Tri {
    fn from(certain: bool) -> Tri {
        if certain { Tri::Yes } else { Tri::No }
    }
}

/// How strings compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strings {
    /// Byte for byte.
    Simple,
    /// By a collation, or by who knows what: only identical strings are certainly equal.
    Collated,
}

/// A value in a form that is equal exactly when the server finds the values equal.
///
/// Only scalars whose equality is that simple have one: numbers of any type below 2^53, strings
/// that compare byte for byte, ObjectIds, binary, booleans, dates and timestamps.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueKey(Box<[u8]>);

impl ValueKey {
    /// The key of a value; `None` for null, documents, arrays, regular expressions, NaN, numbers
    /// that are big or have too many digits, and strings that don't compare byte for byte.
    #[must_use]
    pub fn of(value: &Element<'_>, strings: Strings) -> Option<ValueKey> {
        let key = |tag: u8, bytes: &[u8]| Some(ValueKey([&[tag], bytes].concat().into()));
        match value.kind {
            kind::INT32 | kind::INT64 | kind::DOUBLE | kind::DECIMAL128 => {
                match Number::of(value)? {
                    Number::Int(n) if n.unsigned_abs() < EXACT => key(b'n', &n.to_le_bytes()),
                    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
                    Number::Double(n) if n.abs() < EXACT as f64 => key(b'f', &n.to_le_bytes()),
                    _ => None,
                }
            }
            kind::STRING if strings == Strings::Simple => key(b's', value.value),
            kind::OBJECT_ID => key(b'o', value.value),
            kind::BINARY => key(b'b', value.value),
            kind::BOOL => key(b't', &[u8::from(value.as_bool()?)]),
            kind::DATE => key(b'd', value.value),
            kind::TIMESTAMP => key(b'c', value.value),
            _ => None,
        }
    }

    /// The bytes, for hashing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// True if a value that has no [`ValueKey`] might yet be equal to one that has.
pub(super) fn may_equal_a_key(value: &Element<'_>) -> bool {
    match value.kind {
        kind::DECIMAL128 => Number::of(value) == Some(Number::Odd),
        kind::STRING | kind::SYMBOL | kind::UNDEFINED => true,
        _ => false,
    }
}

/// Whether two values are equal; a missing field is the caller's matter.
pub(super) fn equal(a: &Element<'_>, b: &Element<'_>, strings: Strings) -> Tri {
    equal_within(a, b, strings, MAX_DEPTH)
}

fn equal_within(a: &Element<'_>, b: &Element<'_>, strings: Strings, depth: u32) -> Tri {
    let class = class(a.kind);
    if a.kind == kind::UNDEFINED || b.kind == kind::UNDEFINED {
        // Equal to null in some versions and some places.
        return Tri::Unknown;
    }
    if class != self::class(b.kind) {
        return Tri::No;
    }
    let identical = a.value == b.value;
    match class {
        Class::Number => match (Number::of(a), Number::of(b)) {
            (Some(Number::NaN), Some(Number::NaN)) => Tri::Yes,
            (Some(Number::NaN), _) | (_, Some(Number::NaN)) => Tri::No,
            (Some(_), Some(_)) if a.kind == b.kind && identical => Tri::Yes,
            (Some(a), Some(b)) => a
                .order(b)
                .map_or(Tri::Unknown, |order| order.is_eq().into()),
            _ => Tri::Unknown,
        },
        Class::Text if a.kind == b.kind && identical => Tri::Yes,
        Class::Text if a.kind == kind::STRING && b.kind == kind::STRING => match strings {
            Strings::Simple => Tri::No,
            Strings::Collated => Tri::Unknown,
        },
        Class::Document | Class::Array => documents_equal(a.value, b.value, strings, depth),
        Class::Bool => (a.as_bool() == b.as_bool()).into(),
        Class::Null | Class::MinKey | Class::MaxKey => Tri::Yes,
        Class::Binary | Class::ObjectId | Class::Date | Class::Timestamp | Class::Regex => {
            identical.into()
        }
        Class::Other if a.kind != b.kind => Tri::No,
        Class::Text | Class::Other if identical => Tri::Yes,
        Class::Text | Class::Other => Tri::Unknown,
    }
}

/// Field by field, in order, names included.
fn documents_equal(a: &[u8], b: &[u8], strings: Strings, depth: u32) -> Tri {
    let Some(depth) = depth.checked_sub(1) else {
        return Tri::Unknown;
    };
    let (mut a, mut b) = (elements(a), elements(b));
    let mut all = Tri::Yes;
    loop {
        all = all.and(match (a.next(), b.next()) {
            (None, None) => return all,
            (Some(Ok(a)), Some(Ok(b))) if a.key == b.key => equal_within(&a, &b, strings, depth),
            (Some(Err(_)), _) | (_, Some(Err(_))) => return Tri::Unknown,
            _ => return Tri::No,
        });
        if all == Tri::No {
            return Tri::No;
        }
    }
}

/// How a value compares with a bound.
pub(super) enum Bounded {
    /// Of another type, or NaN on one side only: in no range.
    Apart,
    /// In this order: value, bound.
    Order(Ordering),
    /// It can't be said here.
    Unknown,
}

/// Compares a value with the bound of `$gt`, `$gte`, `$lt` or `$lte`.
pub(super) fn compare(value: &Element<'_>, bound: &Element<'_>, strings: Strings) -> Bounded {
    let class = class(bound.kind);
    if matches!(
        class,
        Class::Null | Class::MinKey | Class::MaxKey | Class::Regex | Class::Other
    ) || value.kind == kind::UNDEFINED
    {
        // Bounds that reach other types, or that the server refuses.
        return Bounded::Unknown;
    }
    if class != self::class(value.kind) {
        return Bounded::Apart;
    }
    let order = match class {
        Class::Number => match (Number::of(value), Number::of(bound)) {
            (Some(Number::NaN), Some(Number::NaN)) => Some(Ordering::Equal),
            (Some(Number::NaN), _) | (_, Some(Number::NaN)) => return Bounded::Apart,
            (Some(a), Some(b)) => a.order(b),
            _ => None,
        },
        Class::Text if value.kind == kind::STRING && bound.kind == kind::STRING => {
            let (a, b) = (text(value), text(bound));
            (strings == Strings::Simple || a == b).then(|| a.cmp(&b))
        }
        Class::Bool => Some(value.as_bool().cmp(&bound.as_bool())),
        Class::Date => Some(value.as_date().cmp(&bound.as_date())),
        Class::Timestamp => Some(value.as_timestamp().cmp(&bound.as_timestamp())),
        Class::ObjectId => Some(value.value.cmp(bound.value)),
        Class::Binary => {
            // Shorter ones first, then by subtype.
            let (a, b) = (value.as_binary(), bound.as_binary());
            let length = value.value.len().cmp(&bound.value.len());
            Some(length.then(a.cmp(&b)))
        }
        _ => None,
    };
    let identical = || value.kind == bound.kind && value.value == bound.value;
    match order {
        Some(order) => Bounded::Order(order),
        None if identical() => Bounded::Order(Ordering::Equal),
        None => Bounded::Unknown,
    }
}

/// A string's bytes, without length and terminator.
pub(super) fn text<'a>(string: &Element<'a>) -> Option<&'a [u8]> {
    Some(string.value.get(4..)?.split_last()?.1)
}

/// Types that the server compares with each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    MinKey,
    Null,
    Number,
    Text,
    Document,
    Array,
    Binary,
    ObjectId,
    Bool,
    Date,
    Timestamp,
    Regex,
    /// Retired or rare: each only with itself.
    Other,
    MaxKey,
}

fn class(kind: u8) -> Class {
    match kind {
        kind::MIN_KEY => Class::MinKey,
        kind::NULL => Class::Null,
        kind::INT32 | kind::INT64 | kind::DOUBLE | kind::DECIMAL128 => Class::Number,
        kind::STRING | kind::SYMBOL => Class::Text,
        kind::DOCUMENT => Class::Document,
        kind::ARRAY => Class::Array,
        kind::BINARY => Class::Binary,
        kind::OBJECT_ID => Class::ObjectId,
        kind::BOOL => Class::Bool,
        kind::DATE => Class::Date,
        kind::TIMESTAMP => Class::Timestamp,
        kind::REGEX => Class::Regex,
        kind::MAX_KEY => Class::MaxKey,
        _ => Class::Other,
    }
}

/// Documents nested deeper than this aren't compared.
const MAX_DEPTH: u32 = 100;

#[cfg(test)]
mod tests;
