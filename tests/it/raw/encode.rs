//! Writing messages, right and wrong ones, apart from `petiole::wire`.

use bson::Document;

use super::{CHECKSUM_PRESENT, HEADER_LEN, OP_COMPRESSED, OP_MSG, OP_QUERY};

/// One part of an OP_MSG.
#[derive(Debug, Clone)]
pub enum Section {
    /// Kind 0: the command document.
    Body(Vec<u8>),
    /// Kind 1: a document sequence.
    Sequence(&'static str, Vec<Vec<u8>>),
    /// Bytes that are sent as they are, kind byte included.
    Raw(Vec<u8>),
}

/// The compressors of OP_COMPRESSED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressor {
    /// Snappy, raw format.
    Snappy = 1,
    /// Zlib.
    Zlib = 2,
    /// Zstandard.
    Zstd = 3,
}

impl Compressor {
    /// The name used in hello.
    pub fn name(self) -> &'static str {
        match self {
            Compressor::Snappy => "snappy",
            Compressor::Zlib => "zlib",
            Compressor::Zstd => "zstd",
        }
    }
}

/// Encodes a document.
pub fn encode(document: &Document) -> Vec<u8> {
    document.to_vec().expect("a test document encodes")
}

/// The four header fields, little-endian.
pub fn header(length: i32, request_id: i32, response_to: i32, op_code: i32) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    for (slot, field) in bytes
        .chunks_exact_mut(4)
        .zip([length, request_id, response_to, op_code])
    {
        slot.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

/// A message with a correct length around `body`.
pub fn message(request_id: i32, op_code: i32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER_LEN + body.len()) as i32;
    [&header(length, request_id, 0, op_code), body].concat()
}

/// An OP_MSG; with [`CHECKSUM_PRESENT`] its checksum is computed and added.
pub fn op_msg(request_id: i32, flags: u32, sections: &[Section]) -> Vec<u8> {
    let mut body = flags.to_le_bytes().to_vec();
    for section in sections {
        match section {
            Section::Body(document) => {
                body.push(0);
                body.extend_from_slice(document);
            }
            Section::Sequence(identifier, documents) => {
                let content: usize = documents.iter().map(Vec::len).sum();
                let size = 4 + identifier.len() + 1 + content;
                body.push(1);
                body.extend_from_slice(&(size as i32).to_le_bytes());
                body.extend_from_slice(identifier.as_bytes());
                body.push(0);
                documents.iter().for_each(|d| body.extend_from_slice(d));
            }
            Section::Raw(bytes) => body.extend_from_slice(bytes),
        }
    }
    if flags & CHECKSUM_PRESENT == 0 {
        return message(request_id, OP_MSG, &body);
    }
    body.extend_from_slice(&[0; 4]);
    let mut bytes = message(request_id, OP_MSG, &body);
    let end = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// An OP_QUERY for one document.
pub fn op_query(request_id: i32, collection: &str, query: &[u8]) -> Vec<u8> {
    let mut body = 0_i32.to_le_bytes().to_vec();
    body.extend_from_slice(collection.as_bytes());
    body.push(0);
    body.extend_from_slice(&0_i32.to_le_bytes());
    body.extend_from_slice(&(-1_i32).to_le_bytes());
    body.extend_from_slice(query);
    message(request_id, OP_QUERY, &body)
}

/// The OP_COMPRESSED form of a whole message.
pub fn op_compressed(plain: &[u8], by: Compressor) -> Vec<u8> {
    let (head, content) = plain.split_at(HEADER_LEN);
    let data = match by {
        Compressor::Snappy => snap::raw::Encoder::new()
            .compress_vec(content)
            .expect("snappy compresses"),
        Compressor::Zlib => {
            let mut out = Vec::new();
            let mut encoder =
                flate2::read::ZlibEncoder::new(content, flate2::Compression::default());
            std::io::Read::read_to_end(&mut encoder, &mut out).expect("zlib compresses");
            out
        }
        Compressor::Zstd => zstd::bulk::compress(content, 3).expect("zstd compresses"),
    };
    let id = i32::from_le_bytes(head[4..8].try_into().expect("four bytes"));
    let op_code = i32::from_le_bytes(head[12..16].try_into().expect("four bytes"));
    compressed_envelope(id, op_code, content.len() as i32, by as u8, &data)
}

/// An OP_COMPRESSED with whatever claims the test wants to make.
pub fn compressed_envelope(id: i32, op_code: i32, size: i32, by: u8, data: &[u8]) -> Vec<u8> {
    let mut body = op_code.to_le_bytes().to_vec();
    body.extend_from_slice(&size.to_le_bytes());
    body.push(by);
    body.extend_from_slice(data);
    message(id, OP_COMPRESSED, &body)
}
