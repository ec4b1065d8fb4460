//! `[traces]`: some requests, told to a collector as OpenTelemetry spans.

use serde::{Deserialize, Serialize};

use super::value::{self, HttpUrl};

/// `[traces]`: where to, how many, under which name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// The collector's OTLP/HTTP address; `None` = no spans are made.
    #[serde(with = "value::empty_is_none")]
    pub endpoint: Option<HttpUrl>,
    /// Share of the requests that are told, from 0 to 1, chosen at random.
    pub share: f64,
    /// `service.name` of the spans.
    pub service_name: String,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            endpoint: None,
            share: 0.01,
            service_name: "petiole".to_owned(),
        }
    }
}
