//! Every record of a period as a stream, with what they come to at the end.

use std::sync::Arc;

use only1mcp_domain::activity::AuditReadKind;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::money::PicoUsd;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use pb::export_costs_response::{Footer, Header, Part};
use tokio::sync::mpsc;
use tonic::Status;

use super::report::TOO_LARGE;
use super::walk::Walk;
use super::{amount, period, shown};
use crate::audit::reading;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::ports::View;

pub(super) type Parts = mpsc::Receiver<Result<pb::ExportCostsResponse, Status>>;

/// Messages made before the caller takes them.
const AHEAD: usize = 64;

pub(super) async fn export(
    core: Arc<Core>,
    call: Call,
    message: pb::ExportCostsRequest,
) -> Result<Parts, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(&call, None, &tenant).await?;
    let from = TimestampMs(message.from_ms);
    let to = TimestampMs(if message.to_ms == 0 { u64::MAX } else { message.to_ms });
    period::check(from, to)?;
    let asked = format!("from_ms={} to_ms={}", message.from_ms, message.to_ms);
    let permit = core.chain_walks.clone().try_acquire_owned().map_err(|_| AdminError::Overloaded)?;
    reading::record(&core, &call, AuditReadKind::CostExport, &tenant, asked, 0)?;
    let (sender, parts) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let _permit = permit;
        if let Err(error) = send(&core, &call, &view, &tenant, (from, to), &sender).await {
            // A caller that went away needs no error.
            let _ = sender.send(Err(error.into())).await;
        }
    });
    Ok(parts)
}

async fn send(
    core: &Core,
    call: &Call,
    view: &View,
    tenant: &TenantId,
    (from, to): (TimestampMs, TimestampMs),
    sender: &mpsc::Sender<Result<pb::ExportCostsResponse, Status>>,
) -> Result<(), AdminError> {
    let part = |part| Ok(pb::ExportCostsResponse { part: Some(part) });
    let header = Header {
        read: core.read_info(view),
        tenant: tenant.to_string(),
        from_ms: from.0,
        to_ms: to.0,
        provisional: period::is_provisional(view, to),
    };
    if sender.send(part(Part::Header(header))).await.is_err() {
        return Ok(());
    }
    let mut walk = Walk::new(core, view, tenant, from, to);
    let (mut records, mut sum) = (0, PicoUsd::ZERO);
    loop {
        let page = walk.page().await?;
        if page.is_empty() {
            break;
        }
        // Who may see costs no more gets no more of them.
        core.authorize(call, &core.ports.cluster.view(), tenant)?;
        for record in &page {
            let cost = amount::cost(record).map_err(|_| TOO_LARGE)?;
            sum = sum.checked_add(cost).map_err(|_| TOO_LARGE)?;
            records += 1;
            let shown = shown::record(record, cost).map_err(|_| TOO_LARGE)?;
            if sender.send(part(Part::Record(shown))).await.is_err() {
                return Ok(());
            }
        }
    }
    let _ = sender.send(part(Part::Footer(Footer { records, cost: sum.to_string() }))).await;
    Ok(())
}
