//! Walking raw BSON without decoding it.
//!
//! The proxy looks at a few fields of a document and passes the rest on, so
//! this reads elements where they lie: no allocation, no copy, no panic. Each
//! element's length is checked against the document it is in before it is
//! handed out.
//!
//! Absent on purpose: nested documents are only looked into when asked
//! ([`check_deep`]), string values are checked for UTF-8 only when read as
//! text, and decimals are not converted.

use std::iter::FusedIterator;
use std::str::from_utf8;

use super::error::DocError;
use super::reader::{Reader, peek_i32};

/// BSON type bytes.
#[allow(missing_docs)]
pub mod kind {
    pub const DOUBLE: u8 = 0x01;
    pub const STRING: u8 = 0x02;
    pub const DOCUMENT: u8 = 0x03;
    pub const ARRAY: u8 = 0x04;
    pub const BINARY: u8 = 0x05;
    pub const UNDEFINED: u8 = 0x06;
    pub const OBJECT_ID: u8 = 0x07;
    pub const BOOL: u8 = 0x08;
    pub const DATE: u8 = 0x09;
    pub const NULL: u8 = 0x0a;
    pub const REGEX: u8 = 0x0b;
    pub const DB_POINTER: u8 = 0x0c;
    pub const CODE: u8 = 0x0d;
    pub const SYMBOL: u8 = 0x0e;
    pub const CODE_WITH_SCOPE: u8 = 0x0f;
    pub const INT32: u8 = 0x10;
    pub const TIMESTAMP: u8 = 0x11;
    pub const INT64: u8 = 0x12;
    pub const DECIMAL128: u8 = 0x13;
    pub const MAX_KEY: u8 = 0x7f;
    pub const MIN_KEY: u8 = 0xff;
}

/// The smallest document: a length and a zero byte.
pub const MIN_LEN: usize = 5;

/// The deepest nesting that [`check_deep`] follows, whatever it is asked for;
/// MongoDB itself allows 200 (`BSONDepth::kBSONDepthParameterCeiling` is 250).
pub const MAX_DEPTH: usize = 250;

/// One field of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The BSON type byte, one of [`kind`].
    pub kind: u8,
    /// The field's name.
    pub key: &'a str,
    /// The value's bytes only; for strings and documents with their length
    /// prefix and terminator.
    pub value: &'a [u8],
    /// Type, key, zero byte and value: what a copy of the element is.
    pub raw: &'a [u8],
}

impl<'a> Element<'a> {
    /// The text of a string that is UTF-8.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        if self.kind != kind::STRING {
            return None;
        }
        let (_, text) = self.value.split_at_checked(4)?;
        from_utf8(text.split_last()?.1).ok()
    }

    /// An int32, an int64 or a double without fraction.
    #[inline]
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self.kind {
            kind::INT32 => Reader::new(self.value).i32().map(i64::from),
            kind::INT64 => Reader::new(self.value).i64(),
            kind::DOUBLE => integral(self.as_f64()?),
            _ => None,
        }
    }

    /// As [`Element::as_i64`], if it fits.
    #[inline]
    #[must_use]
    pub fn as_i32(&self) -> Option<i32> {
        i32::try_from(self.as_i64()?).ok()
    }

    /// An int32, an int64 (rounded, if large) or a double.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(&self) -> Option<f64> {
        let mut r = Reader::new(self.value);
        match self.kind {
            kind::DOUBLE => r.i64().map(|bits| f64::from_bits(bits.cast_unsigned())),
            kind::INT32 => r.i32().map(f64::from),
            kind::INT64 => r.i64().map(|v| v as f64),
            _ => None,
        }
    }

    /// A boolean.
    #[inline]
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        (self.kind == kind::BOOL).then(|| self.value.first().is_some_and(|b| *b != 0))
    }

    /// An embedded document, with its length and terminator.
    #[inline]
    #[must_use]
    pub fn as_document(&self) -> Option<&'a [u8]> {
        (self.kind == kind::DOCUMENT).then_some(self.value)
    }

    /// An array, which is a document whose keys don't matter.
    #[inline]
    #[must_use]
    pub fn as_array(&self) -> Option<&'a [u8]> {
        (self.kind == kind::ARRAY).then_some(self.value)
    }

    /// A timestamp as `(seconds << 32) | increment`, which orders as it should.
    #[inline]
    #[must_use]
    pub fn as_timestamp(&self) -> Option<u64> {
        if self.kind != kind::TIMESTAMP {
            return None;
        }
        Reader::new(self.value).i64().map(i64::cast_unsigned)
    }

    /// A date, in milliseconds since 1970.
    #[inline]
    #[must_use]
    pub fn as_date(&self) -> Option<i64> {
        if self.kind != kind::DATE {
            return None;
        }
        Reader::new(self.value).i64()
    }

    /// An ObjectId's twelve bytes.
    #[inline]
    #[must_use]
    pub fn as_object_id(&self) -> Option<[u8; 12]> {
        if self.kind != kind::OBJECT_ID {
            return None;
        }
        self.value.first_chunk().copied()
    }

    /// A binary value's subtype and bytes.
    #[inline]
    #[must_use]
    pub fn as_binary(&self) -> Option<(u8, &'a [u8])> {
        if self.kind != kind::BINARY {
            return None;
        }
        let mut r = Reader::new(self.value);
        r.i32()?;
        let subtype = r.u8()?;
        Some((subtype, r.rest()))
    }

    /// True for null and for the retired undefined.
    #[inline]
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.kind, kind::NULL | kind::UNDEFINED)
    }

    /// True, or any number but zero: how the server reads flags such as
    /// `ok` and `upsert`. NaN is truthy there, so it is here.
    #[inline]
    #[must_use]
    pub fn is_truthy(&self) -> bool {
        match self.kind {
            kind::BOOL => self.as_bool() == Some(true),
            kind::DECIMAL128 => decimal_is_nonzero(self.value),
            _ => self.as_f64().is_some_and(|v| v != 0.0),
        }
    }
}

/// The elements of a document, in order; see [`elements`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: Reader<'a>,
    failed: Option<DocError>,
}

/// Walks the top level of `doc`, which must be exactly one document.
///
/// The length prefix and the terminator are checked first: if one is wrong the
/// only item is that error. After any error the iterator ends.
#[inline]
#[must_use]
pub fn elements(doc: &[u8]) -> Elements<'_> {
    match inside(doc) {
        Ok(body) => Elements {
            rest: Reader::new(body),
            failed: None,
        },
        Err(error) => Elements {
            rest: Reader::new(&[]),
            failed: Some(error),
        },
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, DocError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return self.failed.take().map(Err);
        }
        let item = element(&mut self.rest);
        if item.is_err() {
            self.rest = Reader::new(&[]);
        }
        Some(item)
    }
}

impl FusedIterator for Elements<'_> {}

/// The first element called `key`; `None` if it is absent or if the document
/// is broken before it.
#[inline]
#[must_use]
pub fn find<'a>(doc: &'a [u8], key: &str) -> Option<Element<'a>> {
    elements(doc)
        .map_while(Result::ok)
        .find(|element| element.key == key)
}

/// Checks the top level of a document.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(doc: &[u8]) -> Result<(), DocError> {
    elements(doc).try_for_each(|element| element.map(drop))
}

/// Checks a document and all documents and arrays in it, down to `max_depth`
/// levels (the outermost is level 1), but never deeper than [`MAX_DEPTH`].
///
/// # Errors
/// The first thing that is wrong; [`DocError::Depth`] if there are more levels.
pub fn check_deep(doc: &[u8], max_depth: usize) -> Result<(), DocError> {
    let allowed = max_depth.min(MAX_DEPTH);
    check_levels(doc, allowed, allowed)
}

fn check_levels(doc: &[u8], left: usize, allowed: usize) -> Result<(), DocError> {
    let Some(below) = left.checked_sub(1) else {
        return Err(DocError::Depth(allowed));
    };
    for element in elements(doc) {
        let element = element?;
        match element.kind {
            kind::DOCUMENT | kind::ARRAY => check_levels(element.value, below, allowed)?,
            kind::CODE_WITH_SCOPE => check_levels(scope(element.value)?, below, allowed)?,
            _ => {}
        }
    }
    Ok(())
}

/// Splits documents that stand one after the other, as in a document sequence.
///
/// Only lengths and terminators are checked. After an error it ends.
#[derive(Debug, Clone)]
pub struct Documents<'a> {
    rest: &'a [u8],
}

/// The documents in `bytes`, which stand there one after the other.
#[inline]
#[must_use]
pub fn documents(bytes: &[u8]) -> Documents<'_> {
    Documents { rest: bytes }
}

impl<'a> Iterator for Documents<'a> {
    type Item = Result<&'a [u8], DocError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut reader = Reader::new(self.rest);
        let item = take_document(&mut reader);
        self.rest = if item.is_ok() { reader.rest() } else { &[] };
        Some(item)
    }
}

impl FusedIterator for Documents<'_> {}

/// Takes one document off the front: its length and terminator are checked.
#[inline]
pub(super) fn take_document<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DocError> {
    let claimed = peek_i32(reader.rest()).ok_or(DocError::Truncated)?;
    let length = usize::try_from(claimed)
        .ok()
        .filter(|length| *length >= MIN_LEN)
        .ok_or(DocError::Length(claimed))?;
    let doc = reader.take(length).ok_or(DocError::Truncated)?;
    if doc.last() != Some(&0) {
        return Err(DocError::Terminator);
    }
    Ok(doc)
}

/// What is between a document's length and its terminator.
#[inline]
fn inside(doc: &[u8]) -> Result<&[u8], DocError> {
    let mut reader = Reader::new(doc);
    let whole = take_document(&mut reader)?;
    if !reader.is_empty() {
        return Err(DocError::Length(peek_i32(doc).unwrap_or(0)));
    }
    whole.get(4..whole.len() - 1).ok_or(DocError::Truncated)
}

#[inline]
fn element<'a>(reader: &mut Reader<'a>) -> Result<Element<'a>, DocError> {
    let start = reader.rest();
    let kind = reader.u8().ok_or(DocError::Truncated)?;
    if kind == 0 {
        return Err(DocError::Terminator);
    }
    let key = reader.cstring().ok_or(DocError::Truncated)?;
    let key = from_utf8(key).map_err(|_| DocError::Key)?;
    let length = value_len(kind, reader.rest())?;
    let value = reader.take(length).ok_or(DocError::Truncated)?;
    let raw = start
        .get(..start.len() - reader.rest().len())
        .ok_or(DocError::Truncated)?;
    Ok(Element {
        kind,
        key,
        value,
        raw,
    })
}

/// How long the value at the start of `rest` is. What it returns may still be
/// more than there is; the caller takes it from a bounded reader.
#[inline]
fn value_len(kind: u8, rest: &[u8]) -> Result<usize, DocError> {
    Ok(match kind {
        kind::NULL | kind::UNDEFINED | kind::MIN_KEY | kind::MAX_KEY => 0,
        kind::BOOL => 1,
        kind::INT32 => 4,
        kind::DOUBLE | kind::DATE | kind::TIMESTAMP | kind::INT64 => 8,
        kind::OBJECT_ID => 12,
        kind::DECIMAL128 => 16,
        kind::STRING | kind::CODE | kind::SYMBOL => string_len(kind, rest)?,
        kind::DOCUMENT | kind::ARRAY => take_document(&mut Reader::new(rest))?.len(),
        kind::BINARY => 5 + claimed_len(kind, rest, 0)?,
        kind::REGEX => {
            let mut r = Reader::new(rest);
            r.cstring().ok_or(DocError::Truncated)?;
            r.cstring().ok_or(DocError::Truncated)?;
            rest.len() - r.rest().len()
        }
        kind::DB_POINTER => 12 + string_len(kind, rest)?,
        kind::CODE_WITH_SCOPE => {
            let length = claimed_len(kind, rest, 4 + MIN_LEN + MIN_LEN)?;
            scope(rest.get(..length).ok_or(DocError::Truncated)?)?;
            length
        }
        _ => return Err(DocError::Kind(kind)),
    })
}

/// A value's own length prefix, if it is at least `least`.
#[inline]
fn claimed_len(kind: u8, rest: &[u8], least: usize) -> Result<usize, DocError> {
    let claimed = peek_i32(rest).ok_or(DocError::Truncated)?;
    usize::try_from(claimed)
        .ok()
        .filter(|length| *length >= least)
        .ok_or(DocError::Value(kind))
}

/// The whole length of a string that starts `rest`: prefix, text, zero byte.
#[inline]
fn string_len(kind: u8, rest: &[u8]) -> Result<usize, DocError> {
    let length = 4 + claimed_len(kind, rest, 1)?;
    match rest.get(length - 1) {
        Some(0) => Ok(length),
        Some(_) => Err(DocError::Value(kind)),
        None => Err(DocError::Truncated),
    }
}

/// The scope document of a code-with-scope value.
fn scope(value: &[u8]) -> Result<&[u8], DocError> {
    let wrong = DocError::Value(kind::CODE_WITH_SCOPE);
    let (_, inner) = value.split_at_checked(4).ok_or(wrong)?;
    let code = string_len(kind::CODE_WITH_SCOPE, inner)?;
    let mut reader = Reader::new(inner.get(code..).ok_or(wrong)?);
    let scope = take_document(&mut reader)?;
    if reader.is_empty() {
        Ok(scope)
    } else {
        Err(wrong)
    }
}

/// A double as an integer, if it is one and fits.
#[inline]
#[allow(clippy::cast_possible_truncation)]
fn integral(value: f64) -> Option<i64> {
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    (value.fract() == 0.0 && (-TWO_63..TWO_63).contains(&value)).then_some(value as i64)
}

/// IEEE 754-2008 decimal128 in its binary encoding: infinities and NaN are not
/// zero, an oversized coefficient is.
fn decimal_is_nonzero(value: &[u8]) -> bool {
    let mut r = Reader::new(value);
    let (Some(low), Some(high)) = (r.i64(), r.i64()) else {
        return false;
    };
    match (high >> 61) & 3 {
        3 => (high >> 59) & 0xf == 0xf,
        _ => low != 0 || high & 0x0001_ffff_ffff_ffff != 0,
    }
}
