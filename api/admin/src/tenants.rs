//! The Tenants service.

use std::ops::Bound;
use std::sync::Arc;

use only1mcp_domain::State;
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::{ResourceQuotas, Tenant, TenantStatus, TenantTier};
use only1mcp_domain::state::Versioned;
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::tenants_server::Tenants;
use only1mcp_proto::model as m;
use tonic::{Request, Response, Status};

use crate::core::Core;
use crate::error::AdminError;
use crate::not_enforced;
use crate::page::Listing;
use crate::wire;

pub(crate) struct TenantsService(pub(crate) Arc<Core>);

fn shown(state: &State, record: &Versioned<Tenant>) -> pb::TenantRecord {
    pb::TenantRecord {
        tenant: Some((&record.value).into()),
        revision: record.revision,
        not_enforced: not_enforced::tenant(&record.value),
        storage_bytes: state.storage_bytes(&record.value.id),
    }
}

/// Fills in what a new tenant starts with where the request leaves it open.
fn with_defaults(mut tenant: m::Tenant) -> m::Tenant {
    if tenant.tier == m::TenantTier::Unspecified as i32 {
        tenant.tier = m::TenantTier::Starter.into();
    }
    if let (None, Ok(tier)) = (&tenant.quotas, TenantTier::try_from(tenant.tier())) {
        tenant.quotas = Some((&ResourceQuotas::template(tier)).into());
    }
    let logical = || m::LogicalIsolation { namespace: tenant.id.clone(), database_schema: String::new() };
    if tenant.isolation_mode.is_none() {
        let mode = m::isolation_mode::Mode::Logical(logical());
        tenant.isolation_mode = Some(m::IsolationMode { mode: Some(mode) });
    }
    if tenant.status == m::TenantStatus::Unspecified as i32 {
        tenant.status = m::TenantStatus::Active.into();
    }
    if tenant.seal_mode == m::SealMode::Unspecified as i32 {
        tenant.seal_mode = m::SealMode::Sealed.into();
    }
    tenant.network_config.get_or_insert_default();
    tenant.billing_account.get_or_insert_default();
    tenant.constraints.get_or_insert_default();
    tenant
}

#[tonic::async_trait]
impl Tenants for TenantsService {
    async fn create_tenant(
        &self,
        request: Request<pb::CreateTenantRequest>,
    ) -> Result<Response<pb::CreateTenantResponse>, Status> {
        let (call, message) = self.0.open("Tenants/CreateTenant", request).await?;
        let mut tenant: Tenant = wire::record("tenant", message.tenant.clone().map(with_defaults))?;
        let write = self.0.write(&call, &message, TenantId::system(), |draft, view| {
            wire::check_zone("tenant.constraints", &tenant.constraints, view, &*self.0.ports.zones)?;
            (tenant.created_at, tenant.updated_at) = (draft.now, draft.now);
            Ok(Command::CreateTenant(Box::new(tenant)))
        });
        Ok(Response::new(pb::CreateTenantResponse { result: write.await? }))
    }

    async fn get_tenant(
        &self,
        request: Request<pb::GetTenantRequest>,
    ) -> Result<Response<pb::GetTenantResponse>, Status> {
        let (call, message) = self.0.open("Tenants/GetTenant", request).await?;
        let tenant = call.tenant(&message.tenant)?;
        let view = self.0.read(&call, message.consistency, &tenant).await?;
        let record =
            view.state.tenants.get(&tenant).ok_or_else(|| AdminError::not_found("tenant", &tenant))?;
        let read = self.0.read_info(&view);
        Ok(Response::new(pb::GetTenantResponse { read, record: Some(shown(&view.state, record)) }))
    }

    async fn list_tenants(
        &self,
        request: Request<pb::ListTenantsRequest>,
    ) -> Result<Response<pb::ListTenantsResponse>, Status> {
        let core = &self.0;
        let (call, message) = core.open("Tenants/ListTenants", request).await?;
        let view = core.read(&call, message.consistency, &TenantId::system()).await?;
        let list = Listing::start(&core.pins, &call, view, message.page_size, &message.page_token, &[])?;
        let start = match &list.after {
            None => Bound::Included(wire::id("page_token", "0")?),
            Some(after) => Bound::Excluded(wire::id("page_token", after)?),
        };
        let tenants = &list.view.state.tenants;
        let (rows, next_page_token) =
            list.take(&core.pins, tenants, start, |_| true, |_| true, ToString::to_string);
        let records = rows.into_iter().map(|record| shown(&list.view.state, record)).collect();
        let read = core.read_info(&list.view);
        Ok(Response::new(pb::ListTenantsResponse { read, records, next_page_token }))
    }

    async fn update_tenant(
        &self,
        request: Request<pb::UpdateTenantRequest>,
    ) -> Result<Response<pb::UpdateTenantResponse>, Status> {
        let (call, message) = self.0.open("Tenants/UpdateTenant", request).await?;
        let mut tenant: Tenant = wire::record("tenant", message.tenant.clone().map(with_defaults))?;
        let write = self.0.write(&call, &message, TenantId::system(), |draft, view| {
            let stored = view.state.tenants.get(&tenant.id);
            let stored = stored.ok_or_else(|| AdminError::not_found("tenant", &tenant.id))?;
            wire::check_zone("tenant.constraints", &tenant.constraints, view, &*self.0.ports.zones)?;
            (tenant.created_at, tenant.updated_at) = (stored.value.created_at, draft.now);
            tenant.status = stored.value.status;
            Ok(Command::UpdateTenant { tenant: Box::new(tenant), if_revision: draft.if_revision })
        });
        Ok(Response::new(pb::UpdateTenantResponse { result: write.await? }))
    }

    async fn set_tenant_status(
        &self,
        request: Request<pb::SetTenantStatusRequest>,
    ) -> Result<Response<pb::SetTenantStatusResponse>, Status> {
        let (call, message) = self.0.open("Tenants/SetTenantStatus", request).await?;
        let tenant = wire::id("tenant", &message.tenant)?;
        let status = TenantStatus::try_from(message.status());
        let status = status.map_err(|error| AdminError::invalid("status", error))?;
        let write = self.0.write(&call, &message, TenantId::system(), |draft, _| {
            Ok(Command::SetTenantStatus { tenant, status, if_revision: draft.if_revision })
        });
        Ok(Response::new(pb::SetTenantStatusResponse { result: write.await? }))
    }

    async fn list_templates(
        &self,
        request: Request<pb::ListTemplatesRequest>,
    ) -> Result<Response<pb::ListTemplatesResponse>, Status> {
        use pb::list_templates_response::Template;
        let (call, pb::ListTemplatesRequest {}) = self.0.open("Tenants/ListTemplates", request).await?;
        self.0.authorize(&call, &self.0.ports.cluster.view(), &call.identity.tenant)?;
        let tiers = [TenantTier::Starter, TenantTier::Professional, TenantTier::Enterprise];
        let templates = tiers.into_iter().map(|tier| Template {
            tier: m::TenantTier::from(tier).into(),
            quotas: Some((&ResourceQuotas::template(tier)).into()),
        });
        Ok(Response::new(pb::ListTemplatesResponse { templates: templates.collect() }))
    }
}
