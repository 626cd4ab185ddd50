//! Every event of a range as a stream. Of other tenants only the places in the chain leave (P7), which suffices to
//! verify that nothing of one's own is missing or moved.

use std::sync::Arc;

use only1mcp_domain::activity::AuditReadKind;
use only1mcp_domain::audit::{ChainHead, Expired, SealedEvent};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_domain::state::State;
use only1mcp_proofs::{ExportSigner, ExportStatement, Origin};
use only1mcp_proto::admin as pb;
use pb::export_audit_response::{Header, Part, Signature};
use tokio::sync::mpsc;
use tonic::Status;

use super::reading::{self, range_text};
use super::retention::{self, told};
use super::verify::before;
use super::{Trail, scan};
use crate::audit_event::{decoded, place, unreadable, whole};
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

pub(super) type Parts = mpsc::Receiver<Result<pb::ExportAuditResponse, Status>>;

/// Messages made before the caller takes them.
const AHEAD: usize = 64;

pub(super) async fn export(
    core: Arc<Core>,
    call: Call,
    message: pb::ExportAuditRequest,
) -> Result<Parts, AdminError> {
    let trail = Trail::named(&call, &message.tenant)?;
    let view = core.read(&call, None, &trail.authority()).await?;
    let walk = core.chain_walks.clone().try_acquire_owned().map_err(|_| AdminError::Overloaded)?;
    let head = view.state.chain.index.0;
    let asked = message.from_index.max(1);
    let to = if message.to_index == 0 { head } else { message.to_index };
    if to > head || asked > to.saturating_add(1) {
        return Err(AdminError::invalid("to_index", format!("the chain ends at {head}")));
    }
    let from = match trail {
        Trail::Everyone => retention::verifiable_from(&view.state, asked, to)?,
        Trail::Of(_) => asked,
    };
    let start = before(&core, from).await?;
    let places = (to + 1).saturating_sub(from);
    reading::of_trail(&core, &call, AuditReadKind::Export, &trail, range_text(from, to), places)?;
    let cluster_id = view.state.cluster.as_ref().map(|cluster| cluster.id.0.to_vec()).unwrap_or_default();
    let frontier =
        core.ports.proofs.frontier(start.index.0).map_err(|failure| super::unread(failure, 1, to))?;
    let header = Header {
        frontier: frontier.peaks().iter().map(|hash| hash.0.to_vec().into()).collect(),
        cluster_id: cluster_id.into(),
        start_index: start.index.0,
        start_hash: start.hash.0.to_vec().into(),
        end_index: to,
        tenant: match &trail {
            Trail::Of(tenant) => tenant.to_string(),
            Trail::Everyone => "*".to_owned(),
        },
        log_time_ms: view.state.log_time.0,
        epoch: view.state.cluster.as_ref().map_or(0, |cluster| cluster.epoch),
    };
    let (sender, parts) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let _walk = walk;
        if let Err(error) = send(&core, &call, &trail, header, from..=to, &sender).await {
            // A caller that went away needs no error.
            let _ = sender.send(Err(error.into())).await;
        }
    });
    Ok(parts)
}

async fn send(
    core: &Core,
    call: &Call,
    trail: &Trail,
    header: Header,
    range: std::ops::RangeInclusive<u64>,
    sender: &mpsc::Sender<Result<pb::ExportAuditResponse, Status>>,
) -> Result<(), AdminError> {
    let part = |part| Ok(pb::ExportAuditResponse { part: Some(part) });
    let statement = statement(&header);
    let mut signer = ExportSigner::default();
    if sender.send(part(Part::Header(header))).await.is_err() {
        return Ok(());
    }
    let (mut next, to) = range.into_inner();
    while next <= to {
        core.authorize(call, &core.ports.cluster.view(), &trail.authority())?;
        let events = scan(core, next, to, false).await?;
        if events.is_empty() {
            return Err(AdminError::AuditUnreadable);
        }
        let state = core.ports.cluster.view().state;
        for sealed in &events {
            let record = record(core, &state, trail, sealed, to)?;
            let whole = record.sealed.as_ref().is_some_and(|sealed| !sealed.canonical.is_empty());
            signer.add(sealed.index, sealed.digest, sealed.hash, whole);
            if sender.send(part(Part::Record(record))).await.is_err() {
                return Ok(());
            }
            next = sealed.index.0 + 1;
        }
    }
    let within = |(_, size): &(String, u64)| (statement.start.index.0..=to).contains(size);
    let checkpoint = core.ports.proofs.newest().filter(within).map(|(note, _)| note).unwrap_or_default();
    let signed = core.ports.proofs.sign_export(&signer.message(&statement));
    let signature = Signature {
        node: signed.node.0,
        key: signed.key.0.to_vec().into(),
        signature: signed.signature.to_vec().into(),
        checkpoint,
    };
    let _ = sender.send(part(Part::Signature(signature))).await;
    Ok(())
}

/// What this node says of the export as a whole.
fn statement(header: &Header) -> ExportStatement {
    let hash = |bytes: &[u8]| Digest(bytes.try_into().unwrap_or_default());
    ExportStatement {
        origin: Origin { cluster: hash(&header.cluster_id), epoch: header.epoch },
        tenant: header.tenant.clone(),
        start: ChainHead { index: AuditIndex(header.start_index), hash: hash(&header.start_hash) },
        end: AuditIndex(header.end_index),
        log_time_ms: header.log_time_ms,
    }
}

/// Errors: `RecordOutside`, where the payload was dropped since the export began.
fn record(
    core: &Core,
    state: &State,
    trail: &Trail,
    sealed: &SealedEvent,
    to: u64,
) -> Result<pb::AuditRecord, AdminError> {
    if Expired::parse(&sealed.bytes).is_some() {
        let expired = told(state, sealed).filter(|_| *trail == Trail::Everyone);
        if let Some(expired) = expired.as_ref().filter(|expired| expired.record > to) {
            return Err(AdminError::RecordOutside {
                index: sealed.index,
                record: AuditIndex(expired.record),
            });
        }
        return Ok(pb::AuditRecord { expired, ..place(sealed) });
    }
    Ok(match decoded(sealed) {
        Some(event) if trail.holds(&event.tenant) => whole(core, sealed, &event),
        Some(_) => place(sealed),
        // Nobody's, because it cannot be read: to operators its bytes, for finding out why.
        None if *trail == Trail::Everyone => unreadable(sealed),
        None => place(sealed),
    })
}
