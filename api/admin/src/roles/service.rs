//! gRPC face of the Roles service.

use std::sync::Arc;

use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::roles_server::Roles;
use tonic::{Request, Response, Status};

use super::{definitions, grants, rules};
use crate::core::Core;

pub(crate) struct RolesService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Roles for RolesService {
    async fn put_role(
        &self,
        request: Request<pb::PutRoleRequest>,
    ) -> Result<Response<pb::PutRoleResponse>, Status> {
        let (call, message) = self.0.open("Roles/PutRole", request).await?;
        Ok(Response::new(definitions::put(&self.0, &call, message).await?))
    }

    async fn get_role(
        &self,
        request: Request<pb::GetRoleRequest>,
    ) -> Result<Response<pb::GetRoleResponse>, Status> {
        let (call, message) = self.0.open("Roles/GetRole", request).await?;
        Ok(Response::new(definitions::get(&self.0, &call, message).await?))
    }

    async fn list_roles(
        &self,
        request: Request<pb::ListRolesRequest>,
    ) -> Result<Response<pb::ListRolesResponse>, Status> {
        let (call, message) = self.0.open("Roles/ListRoles", request).await?;
        Ok(Response::new(definitions::list(&self.0, &call, message).await?))
    }

    async fn delete_role(
        &self,
        request: Request<pb::DeleteRoleRequest>,
    ) -> Result<Response<pb::DeleteRoleResponse>, Status> {
        let (call, message) = self.0.open("Roles/DeleteRole", request).await?;
        Ok(Response::new(definitions::delete(&self.0, &call, message).await?))
    }

    async fn create_grant(
        &self,
        request: Request<pb::CreateGrantRequest>,
    ) -> Result<Response<pb::CreateGrantResponse>, Status> {
        let (call, message) = self.0.open("Roles/CreateGrant", request).await?;
        Ok(Response::new(grants::create(&self.0, &call, message).await?))
    }

    async fn list_grants(
        &self,
        request: Request<pb::ListGrantsRequest>,
    ) -> Result<Response<pb::ListGrantsResponse>, Status> {
        let (call, message) = self.0.open("Roles/ListGrants", request).await?;
        Ok(Response::new(grants::list(&self.0, &call, message).await?))
    }

    async fn revoke_grant(
        &self,
        request: Request<pb::RevokeGrantRequest>,
    ) -> Result<Response<pb::RevokeGrantResponse>, Status> {
        let (call, message) = self.0.open("Roles/RevokeGrant", request).await?;
        Ok(Response::new(grants::revoke(&self.0, &call, message).await?))
    }

    async fn put_restriction(
        &self,
        request: Request<pb::PutRestrictionRequest>,
    ) -> Result<Response<pb::PutRestrictionResponse>, Status> {
        let (call, message) = self.0.open("Roles/PutRestriction", request).await?;
        Ok(Response::new(rules::put_restriction(&self.0, &call, message).await?))
    }

    async fn list_restrictions(
        &self,
        request: Request<pb::ListRestrictionsRequest>,
    ) -> Result<Response<pb::ListRestrictionsResponse>, Status> {
        let (call, message) = self.0.open("Roles/ListRestrictions", request).await?;
        Ok(Response::new(rules::list_restrictions(&self.0, &call, message).await?))
    }

    async fn delete_restriction(
        &self,
        request: Request<pb::DeleteRestrictionRequest>,
    ) -> Result<Response<pb::DeleteRestrictionResponse>, Status> {
        let (call, message) = self.0.open("Roles/DeleteRestriction", request).await?;
        Ok(Response::new(rules::delete_restriction(&self.0, &call, message).await?))
    }

    async fn put_deny(
        &self,
        request: Request<pb::PutDenyRequest>,
    ) -> Result<Response<pb::PutDenyResponse>, Status> {
        let (call, message) = self.0.open("Roles/PutDeny", request).await?;
        Ok(Response::new(rules::put_deny(&self.0, &call, message).await?))
    }

    async fn list_denies(
        &self,
        request: Request<pb::ListDeniesRequest>,
    ) -> Result<Response<pb::ListDeniesResponse>, Status> {
        let (call, message) = self.0.open("Roles/ListDenies", request).await?;
        Ok(Response::new(rules::list_denies(&self.0, &call, message).await?))
    }

    async fn delete_deny(
        &self,
        request: Request<pb::DeleteDenyRequest>,
    ) -> Result<Response<pb::DeleteDenyResponse>, Status> {
        let (call, message) = self.0.open("Roles/DeleteDeny", request).await?;
        Ok(Response::new(rules::delete_deny(&self.0, &call, message).await?))
    }
}
