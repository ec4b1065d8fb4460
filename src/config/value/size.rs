//! Sizes in bytes, with the unit in the value.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, written with its unit: `"64MiB"`, `"48000000B"`, `"1.5GB"`.
///
/// Printed exactly, in a unit that divides it, so that a printed configuration reads back as the
/// same one (which is why `bytesize`'s own rounded form isn't used).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Why a text is not a [`ByteSize`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a size; write a number and a unit (B, KiB, MiB, GiB), such as \"64MiB\"")]
pub struct ByteSizeError(String);

impl ByteSize {
    /// The number of bytes.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; the largest length if it doesn't fit.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The largest exact unit of each kind, and of the two the shorter text: 48MB, not 46875KiB.
        let exact = |units: [(u64, &str); 4]| {
            let unit = units
                .into_iter()
                .find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit));
            unit.map(|(unit, name)| format!("{}{name}", self.0 / unit))
        };
        let texts = [exact(BINARY), exact(DECIMAL)];
        if let Some(text) = texts.into_iter().flatten().min_by_key(String::len) {
            return f.write_str(&text);
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ByteSizeError(text.to_owned());
        // `bytesize` also takes a bare number; here the unit is always in the value.
        if !text.ends_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(refuse());
        }
        let size: bytesize::ByteSize = text.parse().map_err(|_| refuse())?;
        // `bytesize` turns what is too large into the largest number.
        match size.as_u64() {
            u64::MAX => Err(refuse()),
            bytes => Ok(Self(bytes)),
        }
    }
}

super::string_value!(ByteSize);

const BINARY: [(u64, &str); 4] = [
    (1 << 40, "TiB"),
    (1 << 30, "GiB"),
    (1 << 20, "MiB"),
    (1 << 10, "KiB"),
];
const DECIMAL: [(u64, &str); 4] = [
    (1_000_000_000_000, "TB"),
    (1_000_000_000, "GB"),
    (1_000_000, "MB"),
    (1_000, "kB"),
];
