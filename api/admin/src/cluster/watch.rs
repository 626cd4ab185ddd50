//! Which records changed, told as states follow each other: equal parts of two states are shared, so a difference
//! costs what changed, not what there is.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::state::{State, Versioned};
use only1mcp_proto::admin as pb;
use pb::watch_configuration_response::Kind;
use tokio::sync::mpsc;
use tonic::Status;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

pub(super) type Changes = mpsc::Receiver<Result<pb::WatchConfigurationResponse, Status>>;

const AHEAD: usize = 64;

pub(super) async fn watch(
    core: Arc<Core>,
    call: Call,
    message: pb::WatchConfigurationRequest,
) -> Result<Changes, AdminError> {
    let only = (!message.tenant.is_empty()).then(|| call.tenant(&message.tenant)).transpose()?;
    let view = core.read(&call, None, only.as_ref().unwrap_or(&TenantId::system())).await?;
    let permit = core.watches.clone().try_acquire_owned().map_err(|_| AdminError::Overloaded)?;
    let known = match message.from_revision {
        from if from == view.state.last_applied => Some(view.state.clone()),
        from => core.pins.find(from),
    };
    let (sender, changes) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let _permit = permit;
        tokio::select! {
            ended = follow(&core, &call, only.as_ref(), known, &sender) => {
                if let Err(error) = ended {
                    let _ = sender.send(Err(error.into())).await;
                }
            }
            () = sender.closed() => {}
        }
    });
    Ok(changes)
}

async fn follow(
    core: &Core,
    call: &Call,
    only: Option<&TenantId>,
    known: Option<Arc<State>>,
    sender: &mpsc::Sender<Result<pb::WatchConfigurationResponse, Status>>,
) -> Result<(), AdminError> {
    let mut applied = core.ports.cluster.applied();
    let mut told = known.clone().unwrap_or_default();
    let mut first = true;
    loop {
        applied.borrow_and_update();
        let view = core.ports.cluster.view();
        core.authorize(call, &view, only.unwrap_or(&TenantId::system()))?;
        let log_index = view.state.last_applied;
        let mut messages = Vec::new();
        if first && known.is_none() {
            messages.push(message(Kind::Reset));
        }
        differences(&told, &view.state, &mut messages);
        messages.retain(|m| {
            only.is_none_or(|tenant| m.kind == Kind::Reset as i32 || m.tenant == tenant.as_str())
        });
        if first || !messages.is_empty() {
            messages.push(message(Kind::Synced));
            for mut message in messages {
                message.log_index = log_index;
                if sender.send(Ok(message)).await.is_err() {
                    return Ok(());
                }
            }
            // Whoever resumes from what was told last here gets the difference, not everything.
            core.pins.keep(&view.state);
        }
        told = view.state;
        first = false;
        if applied.changed().await.is_err() {
            return Err(AdminError::Stopped);
        }
    }
}

fn message(kind: Kind) -> pb::WatchConfigurationResponse {
    pb::WatchConfigurationResponse { kind: kind.into(), ..Default::default() }
}

fn differences(old: &State, new: &State, out: &mut Vec<pb::WatchConfigurationResponse>) {
    let system = TenantId::system();
    let pair = |tenant: &TenantId, id: String| (tenant.to_string(), id);
    diff(Kind::Tenant, &old.tenants, &new.tenants, |id, _| pair(id, id.to_string()), out);
    diff(Kind::Principal, &old.principals, &new.principals, |(t, id), _| pair(t, id.to_string()), out);
    let key_of = |id: &_, key: &only1mcp_domain::model::ApiKey| pair(&key.tenant, ToString::to_string(id));
    diff(Kind::ApiKey, &old.api_keys, &new.api_keys, key_of, out);
    diff(Kind::Role, &old.roles, &new.roles, |(t, id), _| pair(t, id.to_string()), out);
    diff(Kind::Grant, &old.grants, &new.grants, |(t, id), _| pair(t, id.to_string()), out);
    diff(Kind::Restriction, &old.restrictions, &new.restrictions, |(t, id), _| pair(t, id.to_string()), out);
    diff(Kind::Deny, &old.denies, &new.denies, |(t, id), _| pair(t, id.to_string()), out);
    diff(Kind::Upstream, &old.upstreams, &new.upstreams, |(t, id), _| pair(t, id.to_string()), out);
    diff(Kind::Node, &old.nodes, &new.nodes, |id, _| pair(&system, id.to_string()), out);
    let settings = |state: &State| state.cluster.as_ref().map(|cluster| cluster.settings.revision);
    if let Some(revision) = settings(new).filter(|_| settings(old) != settings(new)) {
        out.push(pb::WatchConfigurationResponse {
            tenant: system.to_string(),
            revision,
            ..message(Kind::Settings)
        });
    }
}

fn diff<K: Ord + Clone, V: Clone + PartialEq>(
    kind: Kind,
    old: &OrdMap<K, Versioned<V>>,
    new: &OrdMap<K, Versioned<V>>,
    name: impl Fn(&K, &V) -> (String, String),
    out: &mut Vec<pb::WatchConfigurationResponse>,
) {
    out.extend(old.diff(new).map(|item| {
        let (key, record, deleted) = match item {
            DiffItem::Add(key, record) | DiffItem::Update { new: (key, record), .. } => (key, record, false),
            DiffItem::Remove(key, record) => (key, record, true),
        };
        let (tenant, id) = name(key, &record.value);
        let revision = if deleted { 0 } else { record.revision };
        pb::WatchConfigurationResponse { tenant, id, revision, deleted, ..message(kind) }
    }));
}
