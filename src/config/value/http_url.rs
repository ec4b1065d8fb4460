//! The base address of something that is asked over HTTP.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

/// `http://host:port` or `https://host`, with a path or not; never with a password or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(String);

/// Why a text is not an [`HttpUrl`]. (It isn't quoted: it may hold a secret.)
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HttpUrlError {
    /// No scheme and host, or others than these.
    #[error("is not an address such as http://127.0.0.1:4318 or https://collector.example")]
    Form,
    /// User information or a query.
    #[error("holds a user, a password or a query, which would be shown with it")]
    Secret,
}

impl HttpUrl {
    /// The address of a path below this one; `path` begins with a slash.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(['@', '?', '#']) {
            return Err(HttpUrlError::Secret);
        }
        let uri: Uri = text.parse().map_err(|_| HttpUrlError::Form)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        match uri.host() {
            Some(host) if is_http && !host.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(HttpUrlError::Form),
        }
    }
}

super::string_value!(HttpUrl);
