//! Serde for optional strings: TOML has no null, so `""` stands for "not set". This way
//! `proxy.toml` can show every key.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IntoDeserializer};

/// Writes `""` for `None`.
pub fn serialize<T: Serialize, S: Serializer>(
    value: &Option<T>,
    out: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(out),
        None => out.serialize_str(""),
    }
}

/// Reads `""` as `None`, anything else as `T` would.
pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(input)?;
    if text.is_empty() {
        return Ok(None);
    }
    T::deserialize(text.into_deserializer()).map(Some)
}
