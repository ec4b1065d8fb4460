//! Sizes in bytes, with the unit in the value.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, written with its unit: `"64MiB"`, `"48000000B"`, `"1.5GB"`.
///
/// Printed exactly: in the largest binary unit that divides it, so that a printed configuration
/// reads back as the same one (which is why `bytesize`'s own rounded form isn't used).
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
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
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
        Ok(Self(size.as_u64()))
    }
}

super::string_value!(ByteSize);
