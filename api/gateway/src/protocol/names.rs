//! Names as clients see them: `upstream__name`, `upstream+uri`.

use only1mcp_domain::ids::UpstreamId;

/// Upstream ids cannot hold either, so the first one ends the id.
const NAME_SEPARATOR: &str = "__";
const URI_SEPARATOR: char = '+';

pub(crate) fn expose_name(upstream: &UpstreamId, own: &str) -> String {
    format!("{upstream}{NAME_SEPARATOR}{own}")
}

pub(crate) fn expose_uri(upstream: &UpstreamId, own: &str) -> String {
    format!("{upstream}{URI_SEPARATOR}{own}")
}

/// The upstream's id and its own name; `None` for a name without a valid prefix.
pub(crate) fn split_name(exposed: &str) -> Option<(UpstreamId, &str)> {
    let (upstream, own) = exposed.split_once(NAME_SEPARATOR)?;
    Some((UpstreamId::new(upstream).ok()?, own))
}

/// The same for a resource's URI.
pub(crate) fn hide_uri(exposed: &str) -> Option<(UpstreamId, &str)> {
    let (upstream, own) = exposed.split_once(URI_SEPARATOR)?;
    Some((UpstreamId::new(upstream).ok()?, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exposed_is_found_again() {
        let id = UpstreamId::new("files-2").unwrap();
        for own in ["read", "a__b", "_x", "", "git+ssh"] {
            assert_eq!(split_name(&expose_name(&id, own)), Some((id.clone(), own)));
        }
        for own in ["file:///a+b", "git+ssh://h/p", "x:{+path}"] {
            assert_eq!(hide_uri(&expose_uri(&id, own)), Some((id.clone(), own)));
        }
    }

    #[test]
    fn what_was_never_exposed_is_not() {
        for name in ["echo", "__echo", "Big__echo", "a b__c"] {
            assert_eq!(split_name(name), None, "{name}");
        }
        for uri in ["file:///x", "+file:///x", "file:///x+y", "Big+file:///x"] {
            assert_eq!(hide_uri(uri), None, "{uri}");
        }
    }
}
