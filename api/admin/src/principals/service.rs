//! gRPC face of the Principals service.

use std::sync::Arc;

use only1mcp_domain::command::Command;
use only1mcp_domain::model::Principal;
use only1mcp_domain::state::Versioned;
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::principals_server::Principals;
use only1mcp_proto::model as m;
use tonic::{Request, Response, Status};

use super::{keys, who_am_i};
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::ports::View;
use crate::subjects::opened_principal;
use crate::wire;

pub(crate) struct PrincipalsService(pub(crate) Arc<Core>);

fn shown(core: &Core, view: &View, record: &Versioned<Principal>) -> pb::PrincipalRecord {
    let principal = Some(opened_principal(core, &view.state, &record.value));
    pb::PrincipalRecord { principal, revision: record.revision }
}

/// The record a request means: in the caller's own tenant where it names none.
fn meant(call: &Call, principal: Option<m::Principal>) -> Result<Principal, AdminError> {
    let principal = principal.map(|mut principal| {
        if principal.tenant.is_empty() {
            principal.tenant = call.identity.tenant.to_string();
        }
        // The node that proposes it seals it.
        principal.personal = None;
        principal
    });
    wire::record("principal", principal)
}

#[tonic::async_trait]
impl Principals for PrincipalsService {
    async fn create_principal(
        &self,
        request: Request<pb::CreatePrincipalRequest>,
    ) -> Result<Response<pb::CreatePrincipalResponse>, Status> {
        let (call, message) = self.0.open("Principals/CreatePrincipal", request).await?;
        let mut principal = meant(&call, message.principal.clone())?;
        let tenant = principal.tenant.clone();
        let write = self.0.write(&call, &message, tenant.clone(), |draft, _| {
            (principal.created_at, principal.updated_at) = (draft.now, draft.now);
            principal.enabled = true;
            Ok(Command::CreatePrincipal(principal))
        });
        Ok(Response::new(pb::CreatePrincipalResponse { result: write.await? }))
    }

    async fn get_principal(
        &self,
        request: Request<pb::GetPrincipalRequest>,
    ) -> Result<Response<pb::GetPrincipalResponse>, Status> {
        let (call, message) = self.0.open("Principals/GetPrincipal", request).await?;
        let key = (call.tenant(&message.tenant)?, wire::id("principal", &message.principal)?);
        let view = self.0.read(&call, message.consistency, &key.0).await?;
        let found = view.state.principals.get(&key);
        let record = found.ok_or_else(|| AdminError::not_found("principal", &key.1))?;
        let read = self.0.read_info(&view);
        Ok(Response::new(pb::GetPrincipalResponse { read, record: Some(shown(&self.0, &view, record)) }))
    }

    async fn list_principals(
        &self,
        request: Request<pb::ListPrincipalsRequest>,
    ) -> Result<Response<pb::ListPrincipalsResponse>, Status> {
        let core = &self.0;
        let (call, message) = core.open("Principals/ListPrincipals", request).await?;
        let tenant = call.tenant(&message.tenant)?;
        let view = core.read(&call, message.consistency, &tenant).await?;
        let filters = [tenant.as_str()];
        let list = Listing::start(&core.pins, &call, view, message.page_size, &message.page_token, &filters)?;
        let start = wire::start(&tenant, list.after.as_deref())?;
        let principals = &list.view.state.principals;
        let (rows, next_page_token) = list.take(
            &core.pins,
            principals,
            start,
            |(t, _)| *t == tenant,
            |_| true,
            |(_, id)| id.to_string(),
        );
        let records = rows.into_iter().map(|record| shown(core, &list.view, record)).collect();
        let read = core.read_info(&list.view);
        Ok(Response::new(pb::ListPrincipalsResponse { read, records, next_page_token }))
    }

    async fn update_principal(
        &self,
        request: Request<pb::UpdatePrincipalRequest>,
    ) -> Result<Response<pb::UpdatePrincipalResponse>, Status> {
        let (call, message) = self.0.open("Principals/UpdatePrincipal", request).await?;
        let mut principal = meant(&call, message.principal.clone())?;
        let key = (principal.tenant.clone(), principal.id.clone());
        let write = self.0.write(&call, &message, key.0.clone(), |draft, view| {
            let stored = view.state.principals.get(&key);
            let stored = stored.ok_or_else(|| AdminError::not_found("principal", &key.1))?;
            (principal.created_at, principal.updated_at) = (stored.value.created_at, draft.now);
            Ok(Command::UpdatePrincipal { principal, if_revision: draft.if_revision })
        });
        Ok(Response::new(pb::UpdatePrincipalResponse { result: write.await? }))
    }

    async fn delete_principal(
        &self,
        request: Request<pb::DeletePrincipalRequest>,
    ) -> Result<Response<pb::DeletePrincipalResponse>, Status> {
        let (call, message) = self.0.open("Principals/DeletePrincipal", request).await?;
        let tenant = call.tenant(&message.tenant)?;
        let principal = wire::id("principal", &message.principal)?;
        let write = self.0.write(&call, &message, tenant.clone(), |draft, _| {
            Ok(Command::DeletePrincipal { tenant, principal, if_revision: draft.if_revision })
        });
        Ok(Response::new(pb::DeletePrincipalResponse { result: write.await? }))
    }

    async fn create_key(
        &self,
        request: Request<pb::CreateKeyRequest>,
    ) -> Result<Response<pb::CreateKeyResponse>, Status> {
        let (call, message) = self.0.open("Principals/CreateKey", request).await?;
        Ok(Response::new(keys::create(&self.0, &call, message).await?))
    }

    async fn list_keys(
        &self,
        request: Request<pb::ListKeysRequest>,
    ) -> Result<Response<pb::ListKeysResponse>, Status> {
        let (call, message) = self.0.open("Principals/ListKeys", request).await?;
        Ok(Response::new(keys::list(&self.0, &call, message).await?))
    }

    async fn rotate_key(
        &self,
        request: Request<pb::RotateKeyRequest>,
    ) -> Result<Response<pb::RotateKeyResponse>, Status> {
        let (call, message) = self.0.open("Principals/RotateKey", request).await?;
        Ok(Response::new(keys::rotate(&self.0, &call, message).await?))
    }

    async fn revoke_key(
        &self,
        request: Request<pb::RevokeKeyRequest>,
    ) -> Result<Response<pb::RevokeKeyResponse>, Status> {
        let (call, message) = self.0.open("Principals/RevokeKey", request).await?;
        Ok(Response::new(keys::revoke(&self.0, &call, message).await?))
    }

    async fn who_am_i(
        &self,
        request: Request<pb::WhoAmIRequest>,
    ) -> Result<Response<pb::WhoAmIResponse>, Status> {
        let (call, pb::WhoAmIRequest {}) = self.0.open("Principals/WhoAmI", request).await?;
        Ok(Response::new(who_am_i::who_am_i(&self.0, &call).await?))
    }
}
