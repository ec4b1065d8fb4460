//! OP_COMPRESSED: another message, compressed whole but for its header.
//!
//! The size that a message claims to inflate to is an upper bound and must
//! then be met exactly, as mongod asks; it is never a reason to allocate.
//! Output grows in steps of 64 KiB as data are really inflated, and inflating
//! stops one byte after the claim. Snappy wants its output in one piece, so
//! there the claim is first held against what so many bytes could inflate to.
//!
//! Absent on purpose: which messages may be compressed (never hello or
//! authentication) and which compressors were negotiated is the caller's to
//! know. Zstandard frames whose window is larger than both 8 MiB and the
//! claimed size are refused: only levels 20 to 22 make them.

use std::io::Read;

use bytes::{BufMut, Bytes};
use flate2::{Compression, Decompress, FlushDecompress, Status};

use super::error::CompressedError;
use super::frame::Frame;
use super::header::{HEADER_LEN, Header};
use super::op_code::OP_COMPRESSED;
use super::reader::Reader;

/// How far output grows ahead of what was inflated, in bytes.
const STEP: usize = 64 * 1024;

/// Original operation code, uncompressed size, compressor.
const FIXED_LEN: usize = 9;

/// No snappy element makes more than 64 bytes out of 3.
const SNAPPY_MAX_RATIO: usize = 22;

/// Zstandard windows up to 8 MiB are always accepted.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Let the compressor choose its level.
pub const DEFAULT_LEVEL: i32 = -1;

/// A way to compress a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compressor {
    /// Stored as it is; for tests of the format.
    Noop,
    /// Snappy, raw format.
    Snappy,
    /// Zlib.
    Zlib,
    /// Zstandard.
    Zstd,
}

impl Compressor {
    /// All compressors, by id.
    pub const ALL: [Self; 4] = [Self::Noop, Self::Snappy, Self::Zlib, Self::Zstd];

    /// The id in a message.
    #[must_use]
    pub fn id(self) -> u8 {
        match self {
            Self::Noop => 0,
            Self::Snappy => 1,
            Self::Zlib => 2,
            Self::Zstd => 3,
        }
    }

    /// The compressor with this id.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.id() == id)
    }

    /// The name in hello's `compression` field.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Snappy => "snappy",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }

    /// The compressor with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }
}

/// The fixed fields of an OP_COMPRESSED, and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpCompressed {
    /// The operation code of the message inside.
    pub original_op_code: i32,
    /// The claimed size of the message inside, without its header.
    pub uncompressed_size: i32,
    /// The compressor's id, perhaps an unknown one.
    pub compressor_id: u8,
    /// The compressed data.
    pub data: Bytes,
}

impl OpCompressed {
    /// Parses a frame without copying from it or inflating it.
    ///
    /// # Errors
    /// If it is another message, or too short for the fixed fields.
    pub fn parse(frame: &Frame) -> Result<Self, CompressedError> {
        let op_code = frame.op_code();
        if op_code != OP_COMPRESSED {
            return Err(CompressedError::OpCode(op_code));
        }
        let mut reader = Reader::new(frame.body());
        let mut fields = || Some((reader.i32()?, reader.i32()?, reader.u8()?));
        let (original_op_code, uncompressed_size, compressor_id) =
            fields().ok_or(CompressedError::Truncated)?;
        Ok(Self {
            original_op_code,
            uncompressed_size,
            compressor_id,
            data: frame.bytes.slice_ref(reader.rest()),
        })
    }
}

/// Inflates an OP_COMPRESSED to the message that it holds.
///
/// `max_len` bounds the whole inflated message, header included.
///
/// # Errors
/// If the claimed size is above the limit or not what the data inflate to, or
/// the data are broken; see [`CompressedError`].
pub fn decompress(frame: &Frame, max_len: usize) -> Result<Frame, CompressedError> {
    let msg = OpCompressed::parse(frame)?;
    if msg.original_op_code == OP_COMPRESSED {
        return Err(CompressedError::Nested);
    }
    let size = msg.uncompressed_size;
    let claimed = usize::try_from(size).map_err(|_| CompressedError::Negative(size))?;
    let message_length = claimed
        .checked_add(HEADER_LEN)
        .filter(|length| *length <= max_len)
        .and_then(|length| i32::try_from(length).ok())
        .ok_or(CompressedError::TooLong { size, max: max_len })?;
    let compressor = Compressor::from_id(msg.compressor_id)
        .ok_or(CompressedError::Compressor(msg.compressor_id))?;
    let header = Header {
        message_length,
        op_code: msg.original_op_code,
        ..frame.header()
    };
    let mut out = Output::open(header, claimed);
    match compressor {
        Compressor::Noop => out.copy(&msg.data)?,
        Compressor::Snappy => out.snappy(&msg.data)?,
        Compressor::Zlib => out.zlib(&msg.data)?,
        Compressor::Zstd => out.zstd(&msg.data)?,
    }
    out.close()
}

/// Compresses a message; its ids stay.
///
/// `level` is 0–9 for zlib and 1–22 for zstd; anything else, such as
/// [`DEFAULT_LEVEL`], means the compressor's default. `None` if the message is
/// already compressed or would not shrink: send it as it is. (`Noop` never
/// shrinks and is done anyway.)
#[must_use]
pub fn compress(frame: &Frame, compressor: Compressor, level: i32) -> Option<Frame> {
    let header = frame.header();
    if header.op_code == OP_COMPRESSED {
        return None;
    }
    let body = frame.body();
    let data = match compressor {
        Compressor::Noop => body.to_vec(),
        Compressor::Snappy => snap::raw::Encoder::new().compress_vec(body).ok()?,
        Compressor::Zlib => deflate(body, level)?,
        Compressor::Zstd => {
            let level = if (1..=22).contains(&level) { level } else { 0 };
            zstd::bulk::compress(body, level).ok()?
        }
    };
    let length = HEADER_LEN + FIXED_LEN + data.len();
    if length >= frame.len() && compressor != Compressor::Noop {
        return None;
    }
    let outer = Header {
        message_length: i32::try_from(length).ok()?,
        op_code: OP_COMPRESSED,
        ..header
    };
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&outer.encode());
    out.put_i32_le(header.op_code);
    out.put_i32_le(i32::try_from(body.len()).ok()?);
    out.put_u8(compressor.id());
    out.extend_from_slice(&data);
    Some(Frame {
        bytes: Bytes::from(out),
    })
}

fn deflate(body: &[u8], level: i32) -> Option<Vec<u8>> {
    let level = match u32::try_from(level) {
        Ok(level @ 0..=9) => Compression::new(level),
        _ => Compression::default(),
    };
    let mut data = Vec::with_capacity(body.len() / 2);
    flate2::bufread::ZlibEncoder::new(body, level)
        .read_to_end(&mut data)
        .ok()?;
    Some(data)
}

/// The message that is being inflated: a header, then at most `claimed` bytes.
struct Output {
    buf: Vec<u8>,
    claimed: usize,
}

impl Output {
    fn open(header: Header, claimed: usize) -> Self {
        let mut buf = Vec::with_capacity(HEADER_LEN + claimed.min(STEP) + 1);
        buf.extend_from_slice(&header.encode());
        Self { buf, claimed }
    }

    fn close(self) -> Result<Frame, CompressedError> {
        if self.buf.len() == HEADER_LEN + self.claimed {
            Ok(Frame {
                bytes: Bytes::from(self.buf),
            })
        } else {
            Err(self.wrong_size())
        }
    }

    fn wrong_size(&self) -> CompressedError {
        CompressedError::Size {
            claimed: self.claimed,
        }
    }

    fn copy(&mut self, data: &[u8]) -> Result<(), CompressedError> {
        if data.len() != self.claimed {
            return Err(self.wrong_size());
        }
        self.buf.extend_from_slice(data);
        Ok(())
    }

    fn snappy(&mut self, data: &[u8]) -> Result<(), CompressedError> {
        let corrupt = CompressedError::Corrupt("snappy");
        let inside = snap::raw::decompress_len(data).map_err(|_| corrupt.clone())?;
        if inside != self.claimed || inside > data.len().saturating_mul(SNAPPY_MAX_RATIO) {
            return Err(self.wrong_size());
        }
        self.buf.resize(HEADER_LEN + inside, 0);
        let to = self.buf.get_mut(HEADER_LEN..).ok_or(corrupt.clone())?;
        let written = snap::raw::Decoder::new()
            .decompress(data, to)
            .map_err(|_| corrupt)?;
        self.buf.truncate(HEADER_LEN + written);
        Ok(())
    }

    fn zlib(&mut self, data: &[u8]) -> Result<(), CompressedError> {
        let corrupt = || CompressedError::Corrupt("zlib");
        let mut inflate = Decompress::new(true);
        let mut rest = Reader::new(data);
        self.inflate(|to| {
            let (consumed, produced) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(rest.rest(), to, FlushDecompress::None)
                .map_err(|_| corrupt())?;
            let consumed = usize::try_from(inflate.total_in() - consumed).map_err(|_| corrupt())?;
            let produced =
                usize::try_from(inflate.total_out() - produced).map_err(|_| corrupt())?;
            rest.take(consumed).ok_or_else(corrupt)?;
            let done = status == Status::StreamEnd;
            if !done && consumed == 0 && produced == 0 {
                return Err(corrupt());
            }
            Ok((produced, done))
        })
    }

    fn zstd(&mut self, data: &[u8]) -> Result<(), CompressedError> {
        let corrupt = || CompressedError::Corrupt("zstd");
        let mut decoder = zstd::Decoder::with_buffer(data).map_err(|_| corrupt())?;
        let window = self.claimed.max(1).ilog2() + 1;
        decoder
            .window_log_max(window.clamp(ZSTD_WINDOW_LOG, 27))
            .map_err(|_| corrupt())?;
        self.inflate(|to| {
            let produced = decoder.read(to).map_err(|_| corrupt())?;
            Ok((produced, produced == 0))
        })
    }

    /// Calls `step` with room for more output until it says that it is done.
    /// It returns how much it wrote. There is always room for one byte more
    /// than claimed, so that data which inflate to more are found out.
    fn inflate(
        &mut self,
        mut step: impl FnMut(&mut [u8]) -> Result<(usize, bool), CompressedError>,
    ) -> Result<(), CompressedError> {
        let end = HEADER_LEN + self.claimed;
        loop {
            let filled = self.buf.len();
            let room = end.saturating_sub(filled).min(STEP) + 1;
            self.buf.resize(filled + room, 0);
            let to = self.buf.get_mut(filled..).unwrap_or_default();
            let (produced, done) = step(to)?;
            self.buf.truncate(filled + produced);
            if self.buf.len() > end {
                return Err(self.wrong_size());
            }
            if done {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
