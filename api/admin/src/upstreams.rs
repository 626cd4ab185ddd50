//! The Upstreams service.

use std::sync::Arc;

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{TenantId, UpstreamId};
use only1mcp_domain::model::Upstream;
use only1mcp_domain::state::{State, Versioned};
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::upstreams_server::Upstreams;
use only1mcp_proto::model as m;
use tonic::{Request, Response, Status};

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::wire;

/// Calls in flight per node, where the request leaves it open.
const CONCURRENCY_DEFAULT: u32 = 64;
/// One call's time, where the request leaves it open.
const CALL_TIMEOUT_MS_DEFAULT: u64 = 60_000;

pub(crate) struct UpstreamsService(pub(crate) Arc<Core>);

type Records = imbl::OrdMap<(TenantId, UpstreamId), Versioned<Upstream>>;

/// A tenant's own upstreams and, among them, the shared ones it is offered.
fn offered(state: &State, tenant: &TenantId) -> Result<Records, AdminError> {
    let mut records = state.upstreams.clone();
    if tenant.is_system() {
        return Ok(records);
    }
    let chosen = state.tenants.get(tenant).and_then(|record| record.value.shared_upstreams.as_ref());
    let start = wire::start(&TenantId::system(), None)?;
    let shared = state.upstreams.range((start, std::ops::Bound::Unbounded));
    for ((_, id), record) in shared.take_while(|((owner, _), _)| owner.is_system()) {
        let hidden = chosen.is_some_and(|chosen| !chosen.contains(id));
        let own = state.upstreams.contains_key(&(tenant.clone(), id.clone()));
        if !hidden && !own {
            records.insert((tenant.clone(), id.clone()), record.clone());
        }
    }
    Ok(records)
}

/// Fills in what an upstream starts with where the request leaves it open.
fn with_defaults(call: &Call, mut upstream: m::Upstream) -> m::Upstream {
    if upstream.tenant.is_empty() {
        upstream.tenant = call.identity.tenant.to_string();
    }
    if upstream.session_mode == m::SessionMode::Unspecified as i32 {
        upstream.session_mode = m::SessionMode::PerSession.into();
    }
    if upstream.concurrency_max == 0 {
        upstream.concurrency_max = CONCURRENCY_DEFAULT;
    }
    if upstream.call_timeout_ms == 0 {
        upstream.call_timeout_ms = CALL_TIMEOUT_MS_DEFAULT;
    }
    upstream
}

impl UpstreamsService {
    fn shown(&self, record: &Versioned<Upstream>) -> pb::UpstreamRecord {
        let upstream = &record.value;
        let health = self.0.ports.host.upstream_health(&upstream.tenant, &upstream.id);
        pb::UpstreamRecord {
            upstream: Some(m::Upstream::redacted(upstream)),
            revision: record.revision,
            health: health.map(|health| pb::UpstreamHealth {
                status: health.status.name().to_owned(),
                detail: health.detail,
                tools: health.tools,
                in_flight: health.in_flight,
                since_ms: health.since.map(|at| at.0),
            }),
        }
    }

    async fn put(
        &self,
        call: &Call,
        message: pb::PutUpstreamRequest,
    ) -> Result<pb::PutUpstreamResponse, AdminError> {
        let asked = message.upstream.clone().ok_or_else(|| AdminError::invalid("upstream", "is missing"))?;
        let mut asked = with_defaults(call, asked);
        let key =
            (wire::id::<TenantId>("upstream.tenant", &asked.tenant)?, wire::id("upstream.id", &asked.id)?);
        let write = self.0.write(call, &message, key.0.clone(), |draft, view| {
            let stored = view.state.upstreams.get(&key).map(|record| &record.value);
            if let Some(stored) = stored {
                asked.keep_secrets_of(stored);
            }
            let mut upstream: Upstream = wire::record("upstream", Some(asked))?;
            (upstream.created_at, upstream.updated_at) =
                (stored.map_or(draft.now, |s| s.created_at), draft.now);
            Ok(Command::PutUpstream { upstream: Box::new(upstream), if_revision: draft.if_revision })
        });
        Ok(pb::PutUpstreamResponse { result: write.await? })
    }
}

#[tonic::async_trait]
impl Upstreams for UpstreamsService {
    async fn put_upstream(
        &self,
        request: Request<pb::PutUpstreamRequest>,
    ) -> Result<Response<pb::PutUpstreamResponse>, Status> {
        let (call, message) = self.0.open("Upstreams/PutUpstream", request).await?;
        Ok(Response::new(self.put(&call, message).await?))
    }

    async fn get_upstream(
        &self,
        request: Request<pb::GetUpstreamRequest>,
    ) -> Result<Response<pb::GetUpstreamResponse>, Status> {
        let (call, message) = self.0.open("Upstreams/GetUpstream", request).await?;
        let key = (call.tenant(&message.tenant)?, wire::id("upstream", &message.upstream)?);
        let view = self.0.read(&call, message.consistency, &key.0).await?;
        let records = offered(&view.state, &key.0)?;
        let record = records.get(&key).ok_or_else(|| AdminError::not_found("upstream", &key.1))?;
        let read = self.0.read_info(&view);
        Ok(Response::new(pb::GetUpstreamResponse { read, record: Some(self.shown(record)) }))
    }

    async fn list_upstreams(
        &self,
        request: Request<pb::ListUpstreamsRequest>,
    ) -> Result<Response<pb::ListUpstreamsResponse>, Status> {
        let core = &self.0;
        let (call, message) = core.open("Upstreams/ListUpstreams", request).await?;
        let tenant = call.tenant(&message.tenant)?;
        let view = core.read(&call, message.consistency, &tenant).await?;
        let filters = [tenant.as_str()];
        let list = Listing::start(&core.pins, &call, view, message.page_size, &message.page_token, &filters)?;
        let start = wire::start(&tenant, list.after.as_deref())?;
        let upstreams = offered(&list.view.state, &tenant)?;
        let (rows, next_page_token) = list.take(
            &core.pins,
            &upstreams,
            start,
            |(t, _)| *t == tenant,
            |_| true,
            |(_, id)| id.to_string(),
        );
        let records = rows.into_iter().map(|record| self.shown(record)).collect();
        let read = core.read_info(&list.view);
        Ok(Response::new(pb::ListUpstreamsResponse { read, records, next_page_token }))
    }

    async fn delete_upstream(
        &self,
        request: Request<pb::DeleteUpstreamRequest>,
    ) -> Result<Response<pb::DeleteUpstreamResponse>, Status> {
        let (call, message) = self.0.open("Upstreams/DeleteUpstream", request).await?;
        let tenant = call.tenant(&message.tenant)?;
        let upstream = wire::id("upstream", &message.upstream)?;
        let write = self
            .0
            .write(&call, &message, tenant.clone(), |_, _| Ok(Command::DeleteUpstream { tenant, upstream }));
        Ok(Response::new(pb::DeleteUpstreamResponse { result: write.await? }))
    }

    async fn set_upstream_enabled(
        &self,
        request: Request<pb::SetUpstreamEnabledRequest>,
    ) -> Result<Response<pb::SetUpstreamEnabledResponse>, Status> {
        let (call, message) = self.0.open("Upstreams/SetUpstreamEnabled", request).await?;
        let tenant = call.tenant(&message.tenant)?;
        let upstream = wire::id("upstream", &message.upstream)?;
        let write = self.0.write(&call, &message, tenant.clone(), |_, _| {
            Ok(Command::SetUpstreamEnabled { tenant, upstream, enabled: message.enabled })
        });
        Ok(Response::new(pb::SetUpstreamEnabledResponse { result: write.await? }))
    }

    async fn set_tool_enabled(
        &self,
        request: Request<pb::SetToolEnabledRequest>,
    ) -> Result<Response<pb::SetToolEnabledResponse>, Status> {
        let (call, message) = self.0.open("Upstreams/SetToolEnabled", request).await?;
        let tenant = call.tenant(&message.tenant)?;
        let upstream = wire::id("upstream", &message.upstream)?;
        let write = self.0.write(&call, &message, tenant.clone(), |_, _| {
            let (tool, enabled) = (message.tool.clone(), message.enabled);
            Ok(Command::SetToolEnabled { tenant, upstream, tool, enabled })
        });
        Ok(Response::new(pb::SetToolEnabledResponse { result: write.await? }))
    }
}
