//! What the operators ask of values.

use super::super::number::Number;
use super::super::value::{Bounded, Tri, compare, equal};
use super::regex::Regex;
use super::walk::Leaf;
use super::{Matcher, Scope, all};
use crate::wire::doc::{Element, elements, find, kind};

/// What operators are asked of.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a, 'p> {
    /// A document's values at a path.
    Field(Scope<'a>, &'p str),
    /// One value, an array's element: it isn't walked into (the value form of `$elemMatch`).
    Value(Element<'a>),
}

impl Matcher {
    /// `path: value`: operators, a regular expression or an equality.
    pub(super) fn predicate(&self, on: Subject<'_, '_>, value: &Element<'_>, depth: u32) -> Tri {
        match value.as_document() {
            Some(document) if has_operators(document) => self.operators(on, document, depth),
            _ => self.any(on, |found| self.equal_or_regex(found, value)),
        }
    }

    fn operators(&self, on: Subject<'_, '_>, operators: &[u8], depth: u32) -> Tri {
        if depth > MAX_DEPTH || may_be_a_reference(operators) {
            return Tri::Unknown;
        }
        all(elements(operators).map(|operator| match operator {
            Ok(operator) if self.spend(0) => self.operator(on, &operator, operators, depth),
            _ => Tri::Unknown,
        }))
    }

    fn operator(
        &self,
        on: Subject<'_, '_>,
        operator: &Element<'_>,
        siblings: &[u8],
        depth: u32,
    ) -> Tri {
        match operator.key {
            "$eq" => self.any(on, |found| self.equal(found, operator)),
            // A regular expression is refused here.
            "$ne" if operator.kind == kind::REGEX => Tri::Unknown,
            "$ne" => !self.any(on, |found| self.equal(found, operator)),
            "$gt" => self.range(on, operator, std::cmp::Ordering::is_gt),
            "$gte" => self.range(on, operator, std::cmp::Ordering::is_ge),
            "$lt" => self.range(on, operator, std::cmp::Ordering::is_lt),
            "$lte" => self.range(on, operator, std::cmp::Ordering::is_le),
            "$in" => self.in_list(on, operator),
            "$nin" => !self.in_list(on, operator),
            "$exists" => self.exists(on, operator),
            "$not" => self.not(on, operator, depth),
            "$all" => self.all(on, operator, depth),
            "$size" => self.size(on, operator),
            "$elemMatch" => self.elem_match(on, operator, depth),
            "$mod" => self.modulo(on, operator),
            "$type" => self.of_type(on, operator),
            "$regex" => match Regex::of_operators(siblings) {
                Some(regex) if self.spend(siblings.len()) => {
                    self.any(on, |found| self.regex_matches(&regex, found))
                }
                _ => Tri::Unknown,
            },
            "$options" if self.spend(siblings.len()) && find(siblings, "$regex").is_some() => {
                Tri::Yes
            }
            _ => Tri::Unknown,
        }
    }

    fn any<'a>(&self, on: Subject<'a, '_>, mut ask: impl FnMut(Option<Element<'a>>) -> Tri) -> Tri {
        match on {
            Subject::Field(scope, path) => self.any_at(scope, path, Leaf::Elements, &mut ask),
            Subject::Value(value) => ask(Some(value)),
        }
    }

    fn any_array<'a>(&self, on: Subject<'a, '_>, mut ask: impl FnMut(&'a [u8]) -> Tri) -> Tri {
        let mut ask = |found: Option<Element<'a>>| {
            let array = found.and_then(|found| found.as_array());
            array.map_or(Tri::No, &mut ask)
        };
        match on {
            Subject::Field(scope, path) => self.any_at(scope, path, Leaf::Whole, &mut ask),
            Subject::Value(value) => ask(Some(value)),
        }
    }

    fn equal(&self, found: Option<Element<'_>>, value: &Element<'_>) -> Tri {
        if value.kind == kind::UNDEFINED || !self.spend(value.value.len()) {
            return Tri::Unknown;
        }
        match found {
            Some(found) => equal(&found, value, self.strings),
            None => (value.kind == kind::NULL).into(),
        }
    }

    fn regex_matches(&self, regex: &Regex<'_>, found: Option<Element<'_>>) -> Tri {
        match self.spend(found.map_or(0, |found| found.value.len())) {
            true => regex.matches(found),
            false => Tri::Unknown,
        }
    }

    fn equal_or_regex(&self, found: Option<Element<'_>>, value: &Element<'_>) -> Tri {
        match value.kind {
            kind::REGEX if !self.spend(value.value.len()) => Tri::Unknown,
            kind::REGEX => {
                Regex::of(value).map_or(Tri::Unknown, |regex| self.regex_matches(&regex, found))
            }
            _ => self.equal(found, value),
        }
    }

    fn range(
        &self,
        on: Subject<'_, '_>,
        bound: &Element<'_>,
        within: fn(std::cmp::Ordering) -> bool,
    ) -> Tri {
        self.any(on, |found| {
            let Some(found) = found else {
                return match bound.kind {
                    kind::NULL | kind::UNDEFINED | kind::MIN_KEY | kind::MAX_KEY => Tri::Unknown,
                    _ => Tri::No,
                };
            };
            if !self.spend(bound.value.len()) {
                return Tri::Unknown;
            }
            match compare(&found, bound, self.strings) {
                Bounded::Order(order) => within(order).into(),
                Bounded::Apart => Tri::No,
                Bounded::Unknown => Tri::Unknown,
            }
        })
    }

    fn in_list(&self, on: Subject<'_, '_>, list: &Element<'_>) -> Tri {
        let Some(list) = list.as_array() else {
            return Tri::Unknown;
        };
        self.any(on, |found| {
            let mut sum = Tri::No;
            for value in elements(list) {
                let Ok(value) = value else {
                    return Tri::Unknown;
                };
                if value.as_document().is_some_and(has_operators) {
                    return Tri::Unknown;
                }
                sum = sum.or(self.equal_or_regex(found, &value));
                if sum == Tri::Yes || self.fuel.get() == 0 {
                    break;
                }
            }
            sum
        })
    }

    fn exists(&self, on: Subject<'_, '_>, wanted: &Element<'_>) -> Tri {
        let exists = self.any(on, |found| found.is_some().into());
        match wanted.kind {
            kind::BOOL | kind::INT32 | kind::INT64 | kind::DOUBLE if wanted.is_truthy() => exists,
            kind::BOOL | kind::INT32 | kind::INT64 | kind::DOUBLE => !exists,
            _ => Tri::Unknown,
        }
    }

    fn not(&self, on: Subject<'_, '_>, inner: &Element<'_>, depth: u32) -> Tri {
        match inner.kind {
            kind::REGEX => !self.any(on, |found| self.equal_or_regex(found, inner)),
            kind::DOCUMENT if has_operators(inner.value) => {
                !self.operators(on, inner.value, depth + 1)
            }
            _ => Tri::Unknown,
        }
    }

    fn all(&self, on: Subject<'_, '_>, list: &Element<'_>, depth: u32) -> Tri {
        let Some(list) = list.as_array() else {
            return Tri::Unknown;
        };
        let mut values = elements(list).peekable();
        if values.peek().is_none() {
            return Tri::No;
        }
        all(values.map(|value| match value {
            Err(_) => Tri::Unknown,
            Ok(value) => match value.as_document() {
                Some(document) if has_operators(document) => match only(document) {
                    Some(inner) if inner.key == "$elemMatch" => {
                        self.elem_match(on, &inner, depth + 1)
                    }
                    _ => Tri::Unknown,
                },
                _ => self.any(on, |found| self.equal_or_regex(found, &value)),
            },
        }))
    }

    fn size(&self, on: Subject<'_, '_>, wanted: &Element<'_>) -> Tri {
        let wanted = wanted.as_i64().and_then(|n| usize::try_from(n).ok());
        let Some(wanted) = wanted else {
            return Tri::Unknown;
        };
        self.any_array(on, |array| {
            let mut count = 0;
            for element in elements(array) {
                if element.is_err() || !self.spend(0) {
                    return Tri::Unknown;
                }
                count += 1;
            }
            (count == wanted).into()
        })
    }

    fn elem_match(&self, on: Subject<'_, '_>, inner: &Element<'_>, depth: u32) -> Tri {
        let Some(inner) = inner.as_document() else {
            return Tri::Unknown;
        };
        let first = elements(inner).next();
        let first = first.and_then(Result::ok).map_or("", |first| first.key);
        let by_value = first.starts_with('$') && !PATHLESS.contains(&first);
        self.any_array(on, |array| {
            let mut sum = Tri::No;
            for item in elements(array) {
                let Some(item) = item.ok().filter(|_| self.spend(0)) else {
                    return Tri::Unknown;
                };
                sum = sum.or(match item.kind {
                    _ if by_value => self.operators(Subject::Value(item), inner, depth + 1),
                    // An array counts as a document whose fields are its positions.
                    kind::DOCUMENT | kind::ARRAY => {
                        self.filter(inner, Scope::whole(item.value), depth + 1)
                    }
                    _ => Tri::No,
                });
                if sum == Tri::Yes {
                    break;
                }
            }
            sum
        })
    }

    fn modulo(&self, on: Subject<'_, '_>, operand: &Element<'_>) -> Tri {
        let mut numbers = elements(operand.as_array().unwrap_or_default())
            .map(|n| n.ok().as_ref().and_then(Number::of));
        let (Some(Some(Number::Int(divisor))), Some(Some(Number::Int(remainder))), None) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return Tri::Unknown;
        };
        if divisor == 0 {
            return Tri::Unknown;
        }
        self.any(on, |found| match found.as_ref().and_then(Number::of) {
            None => Tri::No,
            Some(Number::Int(n)) => (n.wrapping_rem(divisor) == remainder).into(),
            #[allow(
                clippy::cast_possible_truncation,
                reason = "what is meant: towards zero"
            )]
            Some(Number::Double(n)) if n.abs() < 9e15 => {
                ((n as i64).wrapping_rem(divisor) == remainder).into()
            }
            Some(_) => Tri::Unknown,
        })
    }

    fn of_type(&self, on: Subject<'_, '_>, operand: &Element<'_>) -> Tri {
        self.any(on, |found| match operand.as_array() {
            None => is_of_type(found, operand),
            Some(list) if list.len() > 5 && self.spend(8 * list.len()) => {
                super::any(elements(list).map(|one| match one {
                    Ok(one) => is_of_type(found, &one),
                    Err(_) => Tri::Unknown,
                }))
            }
            Some(_) => Tri::Unknown,
        })
    }
}

fn is_of_type(found: Option<Element<'_>>, wanted: &Element<'_>) -> Tri {
    let code = match wanted.as_str() {
        Some("number") => {
            let number = found.as_ref().and_then(Number::of);
            return number.is_some().into();
        }
        Some(alias) => TYPES.iter().find(|(name, _)| *name == alias).map(|t| t.1),
        None => match wanted.as_i64() {
            Some(-1) => Some(kind::MIN_KEY),
            Some(code) => u8::try_from(code)
                .ok()
                .filter(|code| TYPES.iter().any(|t| t.1 == *code && *code != kind::MIN_KEY)),
            None => None,
        },
    };
    match code {
        Some(code) => found.is_some_and(|found| found.kind == code).into(),
        None => Tri::Unknown,
    }
}

/// True if the server reads the document as operators, unless it [`may_be_a_reference`].
pub(super) fn has_operators(document: &[u8]) -> bool {
    let first = elements(document).next();
    first.is_some_and(|first| first.is_ok_and(|first| first.key.starts_with('$')))
}

/// True if the document may be a reference to another document, which is a value.
pub(super) fn may_be_a_reference(document: &[u8]) -> bool {
    let mut fields = elements(document).map_while(Result::ok);
    fields.any(|field| matches!(field.key, "$ref" | "$id" | "$db"))
}

/// The element of a document that has exactly one.
fn only(document: &[u8]) -> Option<Element<'_>> {
    let mut all = elements(document);
    let first = all.next()?.ok()?;
    all.next().is_none().then_some(first)
}

/// Operators that stand in place of a path: an `$elemMatch` that begins with one is a filter.
pub(super) const PATHLESS: [&str; 12] = [
    "$and",
    "$or",
    "$nor",
    "$where",
    "$expr",
    "$comment",
    "$text",
    "$jsonSchema",
    "$alwaysTrue",
    "$alwaysFalse",
    "$sampleRate",
    "$atomic",
];

const TYPES: [(&str, u8); 21] = [
    ("double", kind::DOUBLE),
    ("string", kind::STRING),
    ("object", kind::DOCUMENT),
    ("array", kind::ARRAY),
    ("binData", kind::BINARY),
    ("undefined", kind::UNDEFINED),
    ("objectId", kind::OBJECT_ID),
    ("bool", kind::BOOL),
    ("date", kind::DATE),
    ("null", kind::NULL),
    ("regex", kind::REGEX),
    ("dbPointer", kind::DB_POINTER),
    ("javascript", kind::CODE),
    ("symbol", kind::SYMBOL),
    ("javascriptWithScope", kind::CODE_WITH_SCOPE),
    ("int", kind::INT32),
    ("timestamp", kind::TIMESTAMP),
    ("long", kind::INT64),
    ("decimal", kind::DECIMAL128),
    ("minKey", kind::MIN_KEY),
    ("maxKey", kind::MAX_KEY),
];

const MAX_DEPTH: u32 = super::MAX_DEPTH;
