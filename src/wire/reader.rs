//! A bounded reader over a slice.
//!
//! Every parser of this layer reads through it. It cannot see past the slice
//! it was given, so a length that lies can only make a read fail.

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from the start.
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// All that is left.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True if nothing is left.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    #[inline]
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(n)?;
        self.rest = tail;
        Some(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>()?;
        self.rest = tail;
        Some(*head)
    }

    /// One byte.
    #[inline]
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    /// A little-endian `i32`.
    #[inline]
    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    /// A little-endian `u32`.
    #[inline]
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian `i64`.
    #[inline]
    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// Bytes up to a zero byte, which is consumed and not returned.
    #[inline]
    pub(super) fn cstring(&mut self) -> Option<&'a [u8]> {
        let end = zero_at(self.rest)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }
}

/// Where the first zero byte is. Most keys are short: their end is found in one word.
#[inline]
pub(super) fn zero_at(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let mut seen = 0;
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        // The lowest bit that is set belongs to the first zero byte; higher ones may lie.
        let zeros = word.wrapping_sub(ONES) & !word & TOPS;
        if zeros != 0 {
            return Some(seen + zeros.trailing_zeros() as usize / 8);
        }
        seen += 8;
        rest = after;
    }
    rest.iter().position(|b| *b == 0).map(|at| seen + at)
}

/// The `i32` at the start of `bytes`.
#[inline]
pub(super) fn peek_i32(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().map(|b| i32::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_at_its_first_zero_byte_wherever_that_is() {
        for length in 0..40 {
            for fill in [1_u8, 0x7f, 0x80, 0xff] {
                let mut bytes = vec![fill; length];
                assert_eq!(Reader::new(&bytes).cstring(), None);
                bytes.extend_from_slice(&[0, 1, 0, fill, 0]);
                let mut reader = Reader::new(&bytes);
                assert_eq!(reader.cstring(), bytes.get(..length));
                assert_eq!(reader.rest(), [1, 0, fill, 0]);
            }
        }
    }
}
