//! One field of a document, and reading its value.

use std::str::from_utf8;

use crate::wire::error::DocError;
use crate::wire::reader::Reader;

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

/// One field whose key may be anything but a zero byte, as it lies in the document. Its parts
/// are found when they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    raw: &'a [u8],
    key: usize,
}

impl<'a> Field<'a> {
    /// A field whose bytes were checked, and whose key has so many of them.
    #[inline]
    #[must_use]
    pub(crate) fn checked(raw: &'a [u8], key: usize) -> Field<'a> {
        Field { raw, key }
    }

    /// The BSON type byte, one of [`kind`].
    #[inline]
    #[must_use]
    pub fn kind(self) -> u8 {
        self.raw.first().copied().unwrap_or_default()
    }

    /// The field's name, as it is in the document.
    #[inline]
    #[must_use]
    pub fn key(self) -> &'a [u8] {
        self.raw.get(1..=self.key).unwrap_or_default()
    }

    /// How long the name is, in bytes.
    #[inline]
    #[must_use]
    pub fn key_len(self) -> usize {
        self.key
    }

    /// As [`Element::value`].
    #[inline]
    #[must_use]
    pub fn value(self) -> &'a [u8] {
        // After the type byte, the key and its zero byte.
        self.raw.get(self.key + 2..).unwrap_or_default()
    }

    /// As [`Element::raw`].
    #[inline]
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The same with its key as text.
    ///
    /// # Errors
    /// [`DocError::Key`] if the key isn't UTF-8.
    #[inline]
    pub fn named(self) -> Result<Element<'a>, DocError> {
        let key = from_utf8(self.key()).map_err(|_| DocError::Key)?;
        Ok(Element {
            key,
            ..self.unnamed()
        })
    }

    /// The same with an empty key, for reading its value.
    #[inline]
    #[must_use]
    pub fn unnamed(self) -> Element<'a> {
        Element {
            kind: self.kind(),
            key: "",
            value: self.value(),
            raw: self.raw,
        }
    }

    /// Whether the key is text.
    #[inline]
    #[must_use]
    pub fn is_named(self) -> bool {
        is_text(self.key())
    }
}

/// Whether bytes are UTF-8. Most are ASCII, which is quicker to see.
#[inline]
fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || from_utf8(bytes).is_ok()
}

impl<'a> Element<'a> {
    /// The text of a string that is UTF-8.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        from_utf8(self.string()?).ok()
    }

    /// The same as bytes, which is quicker: for who notes where it is, or compares.
    #[inline]
    #[must_use]
    pub fn as_text(&self) -> Option<&'a [u8]> {
        self.string().filter(|text| is_text(text))
    }

    #[inline]
    fn string(&self) -> Option<&'a [u8]> {
        if self.kind != kind::STRING {
            return None;
        }
        let (_, text) = self.value.split_at_checked(4)?;
        text.split_last().map(|(_, text)| text)
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
