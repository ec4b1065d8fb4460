//! Values that hold a secret: they print, serialise and debug-format masked, so that no log and
//! no `petiole config` shows them. The plain text comes out through one named method.
//!
//! One that came from the environment or from a file of its own prints as where it came from, and nothing else.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What stands where a secret was.
const MASK: &str = "***";

/// Where a secret came from that is neither in proxy.toml nor on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The environment variable of this name.
    Environment(&'static str),
    /// A file that holds nothing else.
    File(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "from the environment variable {name}"),
            Self::File(path) => write!(f, "from the file {}", path.display()),
        }
    }
}

/// The connection string of the upstream, with whatever password it carries.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamUri {
    text: String,
    source: Option<SecretSource>,
}

impl UpstreamUri {
    /// Takes the text as it is; `Config::load` checks it.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            source: None,
        }
    }

    /// The same text, from elsewhere.
    pub(in crate::config) fn came_from(&mut self, source: SecretSource) {
        self.source = Some(source);
    }

    /// Where it came from, if neither from proxy.toml nor from the command line.
    pub fn source(&self) -> Option<&SecretSource> {
        self.source.as_ref()
    }

    /// The whole connection string, password included.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for UpstreamUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            return source.fmt(f);
        }
        // Everything between the scheme and the last `@` of the authority is user information.
        // An unescaped `/` in a password is a mistake, yet it must not be shown either: so the
        // last `@` before the options counts.
        let Some((scheme, rest)) = self.text.split_once("://") else {
            return if self.text.contains('@') {
                f.write_str(MASK)
            } else {
                f.write_str(&self.text)
            };
        };
        let (hosts, options) = match rest.split_once('?') {
            Some((hosts, options)) if !options.contains('@') => (hosts, Some(options)),
            _ => (rest, None),
        };
        write!(f, "{scheme}://")?;
        match hosts.rsplit_once('@') {
            Some((user, hosts)) => match user.split_once(':') {
                Some((name, _)) => write!(f, "{name}:{MASK}@{hosts}")?,
                None => write!(f, "{user}@{hosts}")?,
            },
            None => f.write_str(hosts)?,
        }
        let Some(options) = options else {
            return Ok(());
        };
        for (i, option) in options.split('&').enumerate() {
            f.write_str(if i == 0 { "?" } else { "&" })?;
            match option.split_once('=') {
                Some((key, _)) if is_secret_option(key) => write!(f, "{key}={MASK}")?,
                _ => f.write_str(option)?,
            }
        }
        Ok(())
    }
}

/// URI options whose value is, or may hold, a secret (an AWS session token, a key file's password).
fn is_secret_option(key: &str) -> bool {
    key.eq_ignore_ascii_case("authMechanismProperties")
        || key.eq_ignore_ascii_case("tlsCertificateKeyFilePassword")
        || key.eq_ignore_ascii_case("proxyPassword")
}

impl fmt::Debug for UpstreamUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamUri({self})")
    }
}

impl FromStr for UpstreamUri {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

/// The bearer token of the admin listener.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    source: Option<SecretSource>,
}

impl Token {
    /// The same text, from elsewhere.
    pub(in crate::config) fn came_from(&mut self, source: SecretSource) {
        self.source = Some(source);
    }

    /// Where it came from, if neither from proxy.toml nor from the command line.
    pub fn source(&self) -> Option<&SecretSource> {
        self.source.as_ref()
    }

    /// The token itself. Compare it in constant time.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => source.fmt(f),
            None => f.write_str(MASK),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl FromStr for Token {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self {
            text: text.to_owned(),
            source: None,
        })
    }
}

super::string_value!(UpstreamUri);
super::string_value!(Token);
