//! A trail's events as they are applied on this node, from an index on. The stream closes when the right to see it
//! goes (P4).

use std::sync::Arc;

use only1mcp_domain::activity::AuditReadKind;
use only1mcp_proto::admin as pb;
use tokio::sync::mpsc;
use tonic::Status;

use super::{Trail, reading, scan};
use crate::audit_event::{decoded, whole};
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

pub(super) type Records = mpsc::Receiver<Result<pb::WatchAuditResponse, Status>>;

const AHEAD: usize = 64;

pub(super) async fn watch(
    core: Arc<Core>,
    call: Call,
    message: pb::WatchAuditRequest,
) -> Result<Records, AdminError> {
    let trail = Trail::named(&call, &message.tenant)?;
    let view = core.read(&call, None, &trail.authority()).await?;
    let permit = core.watches.clone().try_acquire_owned().map_err(|_| AdminError::Overloaded)?;
    let next = if message.from_index == 0 { view.state.chain.index.0 + 1 } else { message.from_index };
    reading::of_trail(&core, &call, AuditReadKind::Watch, &trail, format!("from index {next} on"), 0)?;
    let (sender, records) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let _permit = permit;
        tokio::select! {
            ended = follow(&core, &call, &trail, next, &sender) => {
                if let Err(error) = ended {
                    let _ = sender.send(Err(error.into())).await;
                }
            }
            () = sender.closed() => {}
        }
    });
    Ok(records)
}

async fn follow(
    core: &Core,
    call: &Call,
    trail: &Trail,
    mut next: u64,
    sender: &mpsc::Sender<Result<pb::WatchAuditResponse, Status>>,
) -> Result<(), AdminError> {
    let mut applied = core.ports.cluster.applied();
    loop {
        applied.borrow_and_update();
        let view = core.ports.cluster.view();
        core.authorize(call, &view, &trail.authority())?;
        let head = view.state.chain.index.0;
        while next <= head {
            let events = scan(core, next, head, false).await?;
            if events.is_empty() {
                return Err(AdminError::AuditUnreadable);
            }
            for sealed in &events {
                next = sealed.index.0 + 1;
                let Some(event) = decoded(sealed).filter(|event| trail.holds(&event.tenant)) else {
                    continue;
                };
                let record = Some(whole(core, sealed, &event));
                if sender.send(Ok(pb::WatchAuditResponse { record })).await.is_err() {
                    return Ok(());
                }
            }
        }
        if applied.changed().await.is_err() {
            return Err(AdminError::Stopped);
        }
    }
}
