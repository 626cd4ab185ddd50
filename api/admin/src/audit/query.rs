//! Events by filter, in pages. The chain up to a head never changes, so a page token needs only that head and a place.

use only1mcp_domain::activity::AuditReadKind;
use only1mcp_proto::admin as pb;
use prost::Message as _;

use super::filter::Filter;
use super::reading::{self, filter_text};
use super::scan;
use crate::audit_event::{decoded, whole};
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::hex;
use crate::page::{Cursor, filter_digest, page_size};
use crate::ports::View;

/// Events one page looks at; a page may come out short, and its token goes on from there.
const LOOKED_AT_MAX: usize = 20_000;
/// Bytes of events in one page, below what a gRPC message may hold by default.
const PAGE_BYTES_MAX: usize = 3 << 20;

/// The range that is left to look at, both ends inclusive; empty when `from > to`.
#[derive(Clone, Copy)]
struct Range {
    from: u64,
    to: u64,
}

pub(super) async fn query(
    core: &Core,
    call: &Call,
    message: pb::QueryAuditRequest,
) -> Result<pb::QueryAuditResponse, AdminError> {
    let asked = message.filter.clone().unwrap_or_default();
    let filter = Filter::parse(call, &asked)?;
    let size = page_size(message.page_size)?;
    let view = core.read(call, message.consistency, &filter.trail.authority()).await?;
    let digest =
        filter_digest(call, &[&hex::encode(&asked.encode_to_vec()), &message.oldest_first.to_string()]);
    let reverse = !message.oldest_first;
    let mut left = if message.page_token.is_empty() {
        let head = view.state.chain.index.0;
        let to = if asked.to_index == 0 { head } else { asked.to_index.min(head) };
        Range { from: asked.from_index.max(1), to }
    } else {
        resume(&Cursor::open(&message.page_token, &view, digest)?)?
    };
    let mut records = Vec::new();
    let (mut looked_at, mut bytes) = (0, 0);
    let mut full = false;
    while left.from <= left.to && !full && looked_at < LOOKED_AT_MAX {
        let events = scan(core, left.from, left.to, reverse).await?;
        if events.is_empty() {
            return Err(AdminError::AuditUnreadable);
        }
        for sealed in &events {
            // Unreadable events are in the node's log, and `VerifyAudit` names them.
            if let Some(event) = decoded(sealed).filter(|event| filter.wants(event)) {
                let record = whole(core, sealed, &event);
                bytes += record.encoded_len();
                records.push(record);
            }
            looked_at += 1;
            if reverse {
                left.to = sealed.index.0.saturating_sub(1)
            } else {
                left.from = sealed.index.0 + 1
            }
            full = records.len() == size || bytes > PAGE_BYTES_MAX;
            if full {
                break;
            }
        }
    }
    let found = records.len() as u64;
    reading::of_trail(core, call, AuditReadKind::Query, &filter.trail, filter_text(&asked), found)?;
    let next_page_token = if left.from <= left.to { token(&view, left, digest) } else { String::new() };
    Ok(pb::QueryAuditResponse { read: core.read_info(&view), records, next_page_token })
}

fn token(view: &View, left: Range, digest: [u8; 16]) -> String {
    let after = format!("{}-{}", left.from, left.to);
    Cursor { log_index: view.state.last_applied, after }.seal(view, digest).unwrap_or_default()
}

fn resume(cursor: &Cursor) -> Result<Range, AdminError> {
    let (from, to) = cursor.after.split_once('-').ok_or(AdminError::PageTokenInvalid)?;
    let parse = |text: &str| text.parse().map_err(|_| AdminError::PageTokenInvalid);
    Ok(Range { from: parse(from)?, to: parse(to)? })
}
