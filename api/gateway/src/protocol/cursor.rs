//! Where the next page of a merged list starts: opaque to clients, small, and good on any node.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use only1mcp_domain::ids::UpstreamId;

use crate::protocol::ListKind;

const TEXT_BYTES_MAX: usize = 128;

/// After `ordinal` items of `upstream` were given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cursor {
    pub(crate) upstream: UpstreamId,
    pub(crate) ordinal: u32,
}

impl Cursor {
    pub(crate) fn text(&self, kind: ListKind) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}/{}/{}", kind.method(), self.upstream, self.ordinal))
    }

    /// `None` for what this kind of list never gave.
    pub(crate) fn parse(kind: ListKind, text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (upstream, ordinal) = plain.strip_prefix(kind.method())?.strip_prefix('/')?.split_once('/')?;
        Some(Self { upstream: UpstreamId::new(upstream).ok()?, ordinal: ordinal.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let cursor = Cursor { upstream: UpstreamId::new("files").unwrap(), ordinal: 7 };
        let text = cursor.text(ListKind::Tools);
        assert_eq!(Cursor::parse(ListKind::Tools, &text), Some(cursor));
        assert_eq!(Cursor::parse(ListKind::Prompts, &text), None);
        assert_eq!(Cursor::parse(ListKind::Tools, "x"), None);
        assert_eq!(Cursor::parse(ListKind::Tools, &"A".repeat(TEXT_BYTES_MAX + 1)), None);
    }
}
