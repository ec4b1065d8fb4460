//! Values in a form in which what is lawfully different is equal.

use crate::wire::doc::{self, Element, kind};

/// What counts as equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The same bytes.
    Bytes,
    /// Numbers of all types by value; null, undefined and missing are one.
    Value,
    /// As computed values are: fractions to nine digits, arrays in any order. `up`: between other edges.
    Rounded {
        /// Whether the edges are moved by half a step.
        up: bool,
    },
}

/// A value in that form. `ignored`: fields of a document that aren't looked at.
pub(super) fn canon(value: &Element<'_>, by: By, ignored: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.value.len() + 1);
    write(value, by, ignored, &mut out);
    out
}

/// The values that a sort compares; `None` where it looks into arrays, or compares decimals.
pub(super) fn sort_key(document: &[u8], order: &[String], by: By) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for path in order {
        match at(document, path)? {
            Some(value)
                if matches!(value.kind, kind::ARRAY | kind::DECIMAL128 | kind::DOCUMENT) =>
            {
                return None;
            }
            Some(value) => write(&value, by, &[], &mut out),
            None => out.push(kind::NULL),
        }
    }
    Some(out)
}

/// The value at a path: `None` if an array lies on it.
fn at<'a>(document: &'a [u8], path: &'a str) -> Option<Option<Element<'a>>> {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(f, r)| (f, Some(r)));
    let value = doc::find(document, first);
    match (value, rest) {
        (Some(value), Some(_)) if value.kind == kind::ARRAY => None,
        (Some(value), Some(rest)) => match value.as_document() {
            Some(inner) => at(inner, rest),
            None => Some(None),
        },
        (value, None) => Some(value),
        (None, _) => Some(None),
    }
}

fn write(value: &Element<'_>, by: By, ignored: &[String], out: &mut Vec<u8>) {
    if by == By::Bytes {
        out.push(value.kind);
        out.extend_from_slice(value.value);
        return;
    }
    match value.kind {
        kind::DOUBLE | kind::INT32 | kind::INT64 => {
            out.push(kind::DOUBLE);
            out.extend_from_slice(&number(value, by));
        }
        kind::NULL | kind::UNDEFINED => out.push(kind::NULL),
        kind::STRING | kind::SYMBOL => {
            out.push(kind::STRING);
            out.extend_from_slice(value.value);
        }
        kind::DOCUMENT => {
            out.push(kind::DOCUMENT);
            for field in value
                .as_document()
                .into_iter()
                .flat_map(doc::elements)
                .flatten()
            {
                if !ignored.iter().any(|name| name == field.key) {
                    out.extend_from_slice(field.key.as_bytes());
                    out.push(0);
                    write(&field, by, &[], out);
                }
            }
            out.push(0);
        }
        kind::ARRAY => {
            let array = value
                .as_array()
                .into_iter()
                .flat_map(doc::elements)
                .flatten();
            let mut values: Vec<_> = array.map(|v| canon(&v, by, &[])).collect();
            if matches!(by, By::Rounded { .. }) {
                values.sort_unstable();
            }
            out.push(kind::ARRAY);
            for value in values {
                out.extend_from_slice(&value.len().to_le_bytes());
                out.extend_from_slice(&value);
            }
        }
        kind => {
            out.push(kind);
            out.extend_from_slice(value.value);
        }
    }
}

fn number(value: &Element<'_>, by: By) -> [u8; 8] {
    let exact = value.as_f64().unwrap_or(f64::NAN);
    let seen = match by {
        // (Sums of whole numbers are exact.)
        By::Rounded { up }
            if exact.is_finite() && (exact.fract() != 0.0 || exact.abs() >= EXACT) =>
        {
            let step = 10_f64.powf(exact.abs().log10().floor() - 8.0);
            let steps = exact / step;
            (if up { steps.floor() } else { steps.round() }) * step
        }
        _ => exact,
    };
    // (Both zeros, and all that isn't a number, are one.)
    match seen {
        0.0 => 0_f64.to_le_bytes(),
        n if n.is_nan() => f64::NAN.to_le_bytes(),
        n => n.to_le_bytes(),
    }
}

/// Whole numbers below this are exact in a double.
const EXACT: f64 = 9_007_199_254_740_992.0;
