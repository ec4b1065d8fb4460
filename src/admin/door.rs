//! Who may come in.
//!
//! With a token, whoever bears it. Without one the listener is a loopback address, and a browser on
//! this machine is the only thing that could be made to come here for somebody else. What it
//! sends gives that away: the name that it thinks it talks to (`Host`; another site's own name may
//! have been pointed here), the site whose page asks (`Origin`), and how the two are related
//! (`Sec-Fetch-Site`). With a token these are looked at as well, for actions.
//!
//! Nothing allows another origin to read an answer: there are no CORS headers, and browsers are told
//! not to hand answers over in any other way either.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::config::Token;

/// Why somebody isn't let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The token is missing or wrong.
    Token,
    /// It thinks that it talks to somebody else.
    Host,
    /// It is another site's page that asks.
    Origin,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Refusal::Token => {
                let hint = [(header::WWW_AUTHENTICATE, "Bearer")];
                let text = "send Authorization: Bearer with admin.token\n";
                (StatusCode::UNAUTHORIZED, hint, text).into_response()
            }
            Refusal::Host => {
                let text = "address this listener as localhost or by its IP address\n";
                (StatusCode::FORBIDDEN, text).into_response()
            }
            Refusal::Origin => {
                let text = "requests from pages of other sites are refused\n";
                (StatusCode::FORBIDDEN, text).into_response()
            }
        }
    }
}

/// Whether a request may come in. `loopback`: whether the listener is one.
pub(super) fn admits(
    method: &Method,
    headers: &HeaderMap,
    token: Option<&Token>,
    loopback: bool,
) -> Result<(), Refusal> {
    if let Some(token) = token {
        if !bears(headers, token) {
            return Err(Refusal::Token);
        }
    } else if loopback && !is_addressed_locally(headers) {
        return Err(Refusal::Host);
    }
    let is_action = !matches!(*method, Method::GET | Method::HEAD);
    if (is_action || token.is_none()) && !is_own_page(headers) {
        return Err(Refusal::Origin);
    }
    Ok(())
}

/// Tells browsers to keep the answer to themselves.
pub(super) fn seal(response: &mut Response) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (RESOURCE_POLICY, "same-origin"),
    ] {
        let headers = response.headers_mut();
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

fn bears(headers: &HeaderMap, token: &Token) -> bool {
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok());
    let Some(sent) = sent.and_then(|v| v.strip_prefix("Bearer ")) else {
        return false;
    };
    let (sent, wanted) = (sent.as_bytes(), token.expose().as_bytes());
    // Every byte is looked at, so that the time taken tells nothing of where they differ.
    sent.len() == wanted.len() && sent.iter().zip(wanted).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

/// A page of another site that has had its own name pointed here names itself in `Host`.
fn is_addressed_locally(headers: &HeaderMap) -> bool {
    // What sends none is no browser.
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(n, _)| n);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok()
}

/// Whether it is no page that asks, or one that came from here.
fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or_default());
    if let Some(relation) = text(FETCH_SITE)
        && !matches!(relation, "same-origin" | "none")
    {
        return false;
    }
    let Some(origin) = text(header::ORIGIN) else {
        return true;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == text(header::HOST)
}

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(
        method: Method,
        headers: &[(&str, &str)],
        token: Option<&str>,
    ) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            map.insert(name, value.parse().expect("a value"));
        }
        let token = token.map(|t| t.parse::<Token>().expect("any text is one"));
        super::admits(&method, &map, token.as_ref(), true)
    }

    const HERE: (&str, &str) = ("host", "localhost:9216");

    #[test]
    fn only_local_names_address_the_loopback_listener() {
        for host in [
            "localhost",
            "localhost:9216",
            "127.0.0.1:9216",
            "[::1]:9216",
        ] {
            assert_eq!(admits(Method::GET, &[("host", host)], None), Ok(()));
        }
        for host in [
            "evil.example",
            "evil.example:9216",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ] {
            let refused = admits(Method::GET, &[("host", host)], None);
            assert_eq!(refused, Err(Refusal::Host), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_neither_read_nor_act() {
        for asks in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:8080"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            for method in [Method::GET, Method::POST] {
                let refused = admits(method, &[HERE, asks], None);
                assert_eq!(refused, Err(Refusal::Origin), "{asks:?}");
            }
        }
        for asks in [
            ("origin", "http://localhost:9216"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(
                admits(Method::POST, &[HERE, asks], None),
                Ok(()),
                "{asks:?}"
            );
        }
    }

    #[test]
    fn a_token_opens_from_any_name_but_not_for_another_sites_action() {
        let bearer = ("authorization", "Bearer open-sesame");
        let elsewhere = ("host", "proxy.example");
        let token = Some("open-sesame");
        assert_eq!(admits(Method::GET, &[elsewhere, bearer], token), Ok(()));
        for wrong in [
            "Bearer open-sesamf",
            "Bearer ",
            "open-sesame",
            "Basic open-sesame",
        ] {
            let refused = admits(Method::GET, &[elsewhere, ("authorization", wrong)], token);
            assert_eq!(refused, Err(Refusal::Token), "{wrong}");
        }
        let evil = ("origin", "http://evil.example");
        let refused = admits(Method::POST, &[elsewhere, bearer, evil], token);
        assert_eq!(refused, Err(Refusal::Origin));
    }
}
