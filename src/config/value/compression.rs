//! Names of the wire protocol's compressors.

use serde::{Deserialize, Serialize};

/// A compressor that can be negotiated in hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Fast, modest ratio.
    Snappy,
    /// Good ratio at moderate cost.
    Zstd,
    /// The oldest; slowest of the three.
    Zlib,
}

impl Compression {
    /// The name used in hello's `compression` array.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
            Self::Zlib => "zlib",
        }
    }
}
