//! Serde for durations with the unit in the value: `"250ms"`, `"10s"`, `"1m 30s"`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Longest duration accepted: beyond any use, and far below where adding it to a clock overflows.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Writes a duration as a TOML string.
pub fn serialize<S: Serializer>(value: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&humantime::format_duration(*value))
}

/// Reads a duration; refuses a number without a unit and more than [`LONGEST`].
pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(input)?;
    match humantime::parse_duration(&text) {
        Ok(value) if value <= LONGEST => Ok(value),
        Ok(_) => Err(D::Error::custom(format!(
            "{text:?} is longer than 366 days"
        ))),
        Err(_) => Err(D::Error::custom(format!(
            "{text:?} is not a duration; write a number and a unit (ms, s, m, h)"
        ))),
    }
}

/// An optional duration with its unit.
pub mod optional {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    /// Writes nothing for `None`.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, out),
            None => out.serialize_none(),
        }
    }

    /// Reads a duration that is there.
    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(input).map(Some)
    }
}
