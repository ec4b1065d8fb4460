//! Types of single values in `proxy.toml`: each parses from, and prints as, one TOML value.

mod compression;
pub mod duration;
pub mod empty_is_none;
mod host_port;
mod http_url;
mod namespace;
mod secret;
mod size;

pub use compression::Compression;
pub use host_port::{HostPort, HostPortError};
pub use http_url::{HttpUrl, HttpUrlError};
pub use namespace::{NamespacePattern, NamespacePatternError};
pub use secret::{SecretSource, Token, UpstreamUri};
pub use size::{ByteSize, ByteSizeError};

/// Serde through `FromStr` and `Display`: the value is a TOML string.
macro_rules! string_value {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let text = String::deserialize(input)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use string_value;

#[cfg(test)]
mod tests;
