//! Cutting whole messages out of what a socket delivered.
//!
//! [`take_frame`] is the hottest function of the proxy: it looks at four bytes
//! and splits the buffer, without copying. It decides on the length alone, as
//! soon as the length is there, so a peer that claims nonsense is refused
//! before its message is collected.

use bytes::{Bytes, BytesMut};

use super::error::FrameError;
use super::header::{HEADER_LEN, Header};
use super::reader::peek_i32;

/// How far ahead of the received bytes a buffer is grown, in bytes.
const STEP: usize = 64 * 1024;

/// One whole wire message. Cloning shares the bytes.
///
/// [`take_frame`] and [`Frame::from_bytes`] only make frames whose length is
/// the one that the header claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The whole message, header included.
    pub bytes: Bytes,
}

impl Frame {
    /// A frame from exactly one message.
    ///
    /// # Errors
    /// If the header's length is not the number of bytes given.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, FrameError> {
        let claimed = peek_i32(&bytes).unwrap_or(0);
        let length = check_length(claimed, usize::MAX)?;
        if length == bytes.len() {
            Ok(Self { bytes })
        } else {
            Err(FrameError::Mismatch {
                claimed,
                actual: bytes.len(),
            })
        }
    }

    /// The header; all zeros if the bytes are not even a header.
    #[inline]
    #[must_use]
    pub fn header(&self) -> Header {
        Header::parse(&self.bytes).unwrap_or_default()
    }

    /// The operation code in the header.
    #[inline]
    #[must_use]
    pub fn op_code(&self) -> i32 {
        self.header().op_code
    }

    /// The sender's number for this message.
    #[inline]
    #[must_use]
    pub fn request_id(&self) -> i32 {
        self.header().request_id
    }

    /// What follows the header.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// Length of the whole message, in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if there are no bytes, which no checked frame is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Takes the first whole message out of `buf`, if it is there.
///
/// `Ok(None)` means that more bytes are needed; the buffer then has room for
/// what is missing, or for the next 64 KiB of it: what a peer claims is never
/// reserved at once. (Growing doubles a buffer's capacity like a `Vec`'s, so
/// the bound is the larger of twice what was received and 64 KiB more.)
///
/// # Errors
/// If the claimed length is negative, shorter than a header or above
/// `max_len`. This is known from the first four bytes; `buf` is left as it is
/// and the connection cannot go on.
#[inline]
pub fn take_frame(buf: &mut BytesMut, max_len: usize) -> Result<Option<Frame>, FrameError> {
    let Some(claimed) = peek_i32(buf) else {
        return Ok(None);
    };
    let length = check_length(claimed, max_len)?;
    let received = buf.len();
    if received < length {
        buf.reserve((length - received).min(STEP) + ONE_MORE);
        return Ok(None);
    }
    let bytes = buf.split_to(length).freeze();
    Ok(Some(Frame { bytes }))
}

#[inline]
fn check_length(claimed: i32, max: usize) -> Result<usize, FrameError> {
    let Ok(length) = usize::try_from(claimed) else {
        return Err(FrameError::Negative(claimed));
    };
    if length < HEADER_LEN {
        return Err(FrameError::TooShort(claimed));
    }
    if length > max {
        return Err(FrameError::TooLong {
            length: claimed,
            max,
        });
    }
    Ok(length)
}

/// Makes room for reading more of the message whose beginning, if any, is in `buf`: as much as it
/// claims to need, but never more than has come already, or a small step.
pub fn reserve_more(buf: &mut BytesMut) {
    let claimed = buf.first_chunk::<4>().map_or(0, |b| i32::from_le_bytes(*b));
    let missing = usize::try_from(claimed)
        .unwrap_or(0)
        .saturating_sub(buf.len());
    buf.reserve(missing.clamp(LEAST_READ, buf.len().max(STEP)));
}

/// Room beyond what is expected: a read that doesn't fill its buffer tells the runtime that the
/// socket is empty, and the next look at it costs no system call.
pub const ONE_MORE: usize = 1;

/// What a peer that has sent nothing is given.
const LEAST_READ: usize = 4 * 1024;

#[cfg(test)]
mod tests;
