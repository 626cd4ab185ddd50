//! Recomputes the chain on this node, event by event, up to the head its state stands at.

use only1mcp_domain::activity::AuditReadKind;
use only1mcp_domain::audit::{ChainFault, ChainHead, Expired, SealedEvent, Verifier};
use only1mcp_domain::ids::AuditIndex;
use only1mcp_proto::admin as pb;

use super::reading::{self, range_text};
use super::retention::told;
use super::{Trail, scan};
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

pub(super) async fn verify(
    core: &Core,
    call: &Call,
    message: pb::VerifyAuditRequest,
) -> Result<pb::VerifyAuditResponse, AdminError> {
    let view = core.read(call, None, &call.identity.tenant).await?;
    let _walk = core.chain_walks.try_acquire().map_err(|_| AdminError::Overloaded)?;
    let head = view.state.chain;
    let from = message.from_index.max(1);
    let to = if message.to_index == 0 { head.index.0 } else { message.to_index };
    if to > head.index.0 || from > to.saturating_add(1) {
        return Err(AdminError::invalid("to_index", format!("the chain ends at {}", head.index)));
    }
    let mut verifier = Verifier::after(before(core, from).await?);
    let mut fault = None;
    let mut next = from;
    while next <= to && fault.is_none() {
        let events = scan(core, next, to, false).await?;
        if events.is_empty() {
            fault = Some((next, ChainFault::Truncated { expected: to, found: next - 1 }));
        }
        for sealed in &events {
            let gone = Expired::parse(&sealed.bytes).is_some();
            let pushed = match gone {
                true => explained(core, sealed)
                    .and_then(|()| verifier.push_place(sealed.index, sealed.digest, sealed.hash)),
                false => verifier.push(sealed),
            };
            if let Err(found) = pushed {
                fault = Some((sealed.index.0, found));
                break;
            }
            next = sealed.index.0 + 1;
        }
        tokio::task::yield_now().await;
    }
    if fault.is_none() && to == head.index.0 && verifier.head() != head {
        fault = Some((to, ChainFault::Forked { index: to }));
    }
    let own = Trail::Of(call.identity.tenant.clone());
    reading::of_trail(core, call, AuditReadKind::Verify, &own, range_text(from, to), next - from)?;
    Ok(pb::VerifyAuditResponse {
        valid: fault.is_none(),
        events: next - from,
        from_index: from,
        to_index: next - 1,
        hash: verifier.head().hash.0.to_vec().into(),
        fault_index: fault.as_ref().map_or(0, |(index, _)| *index),
        fault: fault.map(|(_, fault)| fault.to_string()).unwrap_or_default(),
        read: core.read_info(&view),
    })
}

/// A payload may be missing where the log says that it was dropped.
fn explained(core: &Core, sealed: &SealedEvent) -> Result<(), ChainFault> {
    let told = told(&core.ports.cluster.view().state, sealed);
    told.map(|_| ()).ok_or(ChainFault::PayloadMissing { index: sealed.index.0 })
}

/// Where the chain stands before event `from`.
pub(super) async fn before(core: &Core, from: u64) -> Result<ChainHead, AdminError> {
    let Some(previous) = from.checked_sub(1).filter(|index| *index > 0) else {
        return Ok(ChainHead::default());
    };
    let events = scan(core, previous, previous, false).await?;
    let event = events.first().ok_or(AdminError::AuditUnreadable)?;
    Ok(ChainHead { index: AuditIndex(previous), hash: event.hash })
}
