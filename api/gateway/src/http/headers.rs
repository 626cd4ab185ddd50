//! Header checks that the transport demands.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, Uri};
use only1mcp_domain::limits;

pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
pub(crate) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(crate) const PROJECT: HeaderName = HeaderName::from_static("x-only1mcp-project");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Present more than once, or not text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ambiguous;

/// The one value of a header that must not be repeated.
pub(crate) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Ambiguous> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Ambiguous),
        (Some(_), Some(_)) => Err(Ambiguous),
    }
}

/// `Authorization: Bearer …`, or `X-API-Key`.
pub(crate) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = single(headers, &AUTHORIZATION).ok()? {
        let (scheme, key) = value.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty());
    }
    single(headers, &API_KEY).ok()?.map(str::trim).filter(|key| !key.is_empty())
}

/// Host and port as the client named them, in lower case.
pub(crate) fn authority(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let named =
        single(headers, &HOST).ok()?.or_else(|| uri.authority().map(|authority| authority.as_str()))?;
    Some(named.to_ascii_lowercase())
}

/// The host without its port.
pub(crate) fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority.split_inclusive(']').next().unwrap_or(authority);
    }
    authority.split(':').next().unwrap_or(authority)
}

/// No `Origin` (not a browser), the host's own, or one that the tenant allows.
pub(crate) fn origin_is_allowed(headers: &HeaderMap, authority: Option<&str>, allowed: &[String]) -> bool {
    let origin = match single(headers, &ORIGIN) {
        Ok(None) => return true,
        Ok(Some(origin)) => origin.to_ascii_lowercase(),
        Err(Ambiguous) => return false,
    };
    let same_host = origin.split_once("://").is_some_and(|(_, named)| Some(named) == authority);
    same_host || allowed.iter().any(|one| one.trim_end_matches('/').eq_ignore_ascii_case(&origin))
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Ok(Some(value)) = single(headers, &CONTENT_TYPE) else { return false };
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether every one of `kinds` may be answered. A client that says nothing takes anything.
pub(crate) fn accepts(headers: &HeaderMap, kinds: &[&str]) -> bool {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if values.is_empty() {
        return true;
    }
    let ranges: Vec<&str> = values
        .iter()
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .collect();
    kinds.iter().all(|kind| {
        let main = kind.split('/').next().unwrap_or(kind);
        ranges.iter().map(|range| range.trim()).any(|range| {
            let wide = range.strip_suffix("/*").is_some_and(|m| m == "*" || m.eq_ignore_ascii_case(main));
            wide || range.eq_ignore_ascii_case(kind)
        })
    })
}

/// Shown in audit events: cut to what they hold.
pub(crate) fn shown(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.chars().take(limits::EVENT_TEXT_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn origins() {
        let allowed = ["https://app.example/".to_owned()];
        let ok =
            |origin| origin_is_allowed(&headers(&[("origin", origin)]), Some("gw.example:8443"), &allowed);
        assert!(origin_is_allowed(&headers(&[]), None, &[]));
        assert!(ok("https://gw.example:8443") && ok("https://APP.example"));
        for bad in [
            "null",
            "https://gw.example",
            "https://evil.example",
            "gw.example:8443",
            "https://app.example.evil",
        ] {
            assert!(!ok(bad), "{bad}");
        }
        let twice = headers(&[("origin", "https://app.example"), ("origin", "https://evil.example")]);
        assert!(!origin_is_allowed(&twice, None, &allowed));
    }

    #[test]
    fn keys() {
        assert_eq!(presented_key(&headers(&[("authorization", "bearer k")])), Some("k"));
        assert_eq!(presented_key(&headers(&[("x-api-key", "k")])), Some("k"));
        for none in [
            &[("authorization", "Basic k")][..],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
        ] {
            assert_eq!(presented_key(&headers(none)), None);
        }
    }

    #[test]
    fn accept() {
        let both = ["application/json", "text/event-stream"];
        let ok = |value| accepts(&headers(&[("accept", value)]), &both);
        assert!(
            ok("application/json, text/event-stream")
                && ok("*/*")
                && ok("application/*;q=0.1,text/event-stream")
        );
        assert!(!ok("application/json") && !ok("text/html"));
        assert!(accepts(&headers(&[]), &both));
    }

    #[test]
    fn hosts() {
        assert_eq!(host_of("gw.example:1"), "gw.example");
        assert_eq!(host_of("[::1]:8080"), "[::1]");
    }
}
