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

use super::error::DocError;
use super::reader::{Reader, peek_i32, zero_at};

mod element;

pub use element::{Element, Field, kind};

/// The smallest document: a length and a zero byte.
pub const MIN_LEN: usize = 5;

/// The deepest nesting that [`check_deep`] follows, whatever it is asked for;
/// MongoDB itself allows 200 (`BSONDepth::kBSONDepthParameterCeiling` is 250).
pub const MAX_DEPTH: usize = 250;

/// The fields of a document, in order; see [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: Reader<'a>,
    failed: Option<DocError>,
}

/// Walks the top level of `doc` as [`elements`] does, without looking whether keys are text.
///
/// For the walks that every request takes and that only look for names they know: checking a key
/// costs as much as finding its element.
#[inline]
#[must_use]
pub fn fields(doc: &[u8]) -> Fields<'_> {
    match inside(doc) {
        Ok(body) => Fields {
            rest: Reader::new(body),
            failed: None,
        },
        Err(error) => Fields {
            rest: Reader::new(&[]),
            failed: Some(error),
        },
    }
}

impl<'a> Fields<'a> {
    /// Shows all that are left to `look`, until it says `None`; `None` too if the document is broken.
    /// What a loop does, without handing each over in a result of its own: for long walks of every
    /// request.
    #[inline]
    pub fn show(self, mut look: impl FnMut(Field<'a>) -> Option<()>) -> Option<()> {
        let mut rest = self.rest;
        while !rest.is_empty() {
            look(field(&mut rest).ok()?)?;
        }
        match self.failed {
            None => Some(()),
            Some(_) => None,
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, DocError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return self.failed.take().map(Err);
        }
        let item = field(&mut self.rest);
        if item.is_err() {
            self.rest = Reader::new(&[]);
        }
        Some(item)
    }
}

impl FusedIterator for Fields<'_> {}

/// The elements of a document, in order; see [`elements`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    fields: Fields<'a>,
}

/// Walks the top level of `doc`, which must be exactly one document.
///
/// The length prefix and the terminator are checked first: if one is wrong the
/// only item is that error. After any error the iterator ends.
#[inline]
#[must_use]
pub fn elements(doc: &[u8]) -> Elements<'_> {
    Elements {
        fields: fields(doc),
    }
}

/// The fields of `doc` after the first `skip` bytes of fields, which must be where one ends:
/// to go on where an earlier walk stopped.
#[must_use]
pub fn fields_after(doc: &[u8], skip: usize) -> Fields<'_> {
    let rest = inside(doc).ok().and_then(|body| body.get(skip..));
    Fields {
        rest: Reader::new(rest.unwrap_or_default()),
        failed: None,
    }
}

/// As [`fields_after`], but elements.
#[must_use]
pub fn elements_after(doc: &[u8], skip: usize) -> Elements<'_> {
    Elements {
        fields: fields_after(doc, skip),
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, DocError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.fields.next()?.and_then(Field::named);
        if item.is_err() {
            self.fields.rest = Reader::new(&[]);
        }
        Some(item)
    }
}

impl FusedIterator for Elements<'_> {}

/// The first element called `key`; `None` if it is absent or if the document
/// is broken before it. (Keys that come before aren't looked at for being text.)
#[inline]
#[must_use]
pub fn find<'a>(doc: &'a [u8], key: &'a str) -> Option<Element<'a>> {
    fields(doc)
        .map_while(Result::ok)
        .find(|field| field.key() == key.as_bytes())
        .map(|field| Element {
            key,
            ..field.unnamed()
        })
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
    let length = document_len(reader.rest())?;
    reader.take(length).ok_or(DocError::Truncated)
}

/// The whole length of a document that starts `rest`, where its terminator is.
#[inline]
fn document_len(rest: &[u8]) -> Result<usize, DocError> {
    let claimed = peek_i32(rest).ok_or(DocError::Truncated)?;
    let length = usize::try_from(claimed)
        .ok()
        .filter(|length| *length >= MIN_LEN)
        .ok_or(DocError::Length(claimed))?;
    match rest.get(length - 1) {
        Some(0) => Ok(length),
        Some(_) => Err(DocError::Terminator),
        None => Err(DocError::Truncated),
    }
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

/// Takes one field off the front.
#[inline(always)] // Into both walks: a call and its result take a quarter of the time.
fn field<'a>(reader: &mut Reader<'a>) -> Result<Field<'a>, DocError> {
    let (kind, named) = reader.rest().split_first().ok_or(DocError::Truncated)?;
    if *kind == 0 {
        return Err(DocError::Terminator);
    }
    let key = zero_at(named).ok_or(DocError::Truncated)?;
    let value = named.get(key + 1..).ok_or(DocError::Truncated)?;
    let length = value_len(*kind, value)?;
    let raw = reader.take(key + 2 + length).ok_or(DocError::Truncated)?;
    Ok(Field::checked(raw, key))
}

/// How long the value at the start of `rest` is. What it returns may still be
/// more than there is; the caller takes it from a bounded reader.
#[inline(always)] // As `field`.
fn value_len(kind: u8, rest: &[u8]) -> Result<usize, DocError> {
    Ok(match kind {
        kind::NULL | kind::UNDEFINED | kind::MIN_KEY | kind::MAX_KEY => 0,
        kind::BOOL => 1,
        kind::INT32 => 4,
        kind::DOUBLE | kind::DATE | kind::TIMESTAMP | kind::INT64 => 8,
        kind::OBJECT_ID => 12,
        kind::DECIMAL128 => 16,
        kind::STRING | kind::CODE | kind::SYMBOL => string_len(kind, rest)?,
        kind::DOCUMENT | kind::ARRAY => document_len(rest)?,
        kind::BINARY => 5 + claimed_len(kind, rest, 0)?,
        _ => rare_value_len(kind, rest)?,
    })
}

/// The same for kinds that few documents have: apart, so that their work costs the others nothing.
#[cold]
fn rare_value_len(kind: u8, rest: &[u8]) -> Result<usize, DocError> {
    Ok(match kind {
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

#[cfg(test)]
mod tests;
