//! gRPC face of the Subjects service.

use std::sync::Arc;

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{PrincipalId, TenantId};
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::subjects_server::Subjects;
use tonic::{Request, Response, Status};

use super::{reads, table};
use crate::core::Core;
use crate::wire;

pub(crate) struct SubjectsService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Subjects for SubjectsService {
    async fn get_subject(
        &self,
        request: Request<pb::GetSubjectRequest>,
    ) -> Result<Response<pb::GetSubjectResponse>, Status> {
        let (call, message) = self.0.open("Subjects/GetSubject", request).await?;
        Ok(Response::new(reads::subject(&self.0, &call, message).await?))
    }

    async fn erase_subject(
        &self,
        request: Request<pb::EraseSubjectRequest>,
    ) -> Result<Response<pb::EraseSubjectResponse>, Status> {
        let (call, message) = self.0.open("Subjects/EraseSubject", request).await?;
        let tenant: TenantId = call.tenant(&message.tenant)?;
        let principal: PrincipalId = wire::id("principal", &message.principal)?;
        let write = self
            .0
            .write(&call, &message, tenant.clone(), |_, _| Ok(Command::EraseSubject { tenant, principal }));
        Ok(Response::new(pb::EraseSubjectResponse { result: write.await? }))
    }

    async fn hold_subject(
        &self,
        request: Request<pb::HoldSubjectRequest>,
    ) -> Result<Response<pb::HoldSubjectResponse>, Status> {
        let (call, message) = self.0.open("Subjects/HoldSubject", request).await?;
        let tenant: TenantId = call.tenant(&message.tenant)?;
        let principal: PrincipalId = wire::id("principal", &message.principal)?;
        let hold = message.hold.clone();
        let write = self.0.write(&call, &message, tenant.clone(), |_, _| {
            Ok(Command::HoldSubject { tenant, principal, hold })
        });
        Ok(Response::new(pb::HoldSubjectResponse { result: write.await? }))
    }

    async fn get_erasure(
        &self,
        request: Request<pb::GetErasureRequest>,
    ) -> Result<Response<pb::GetErasureResponse>, Status> {
        let (call, message) = self.0.open("Subjects/GetErasure", request).await?;
        Ok(Response::new(reads::erasure(&self.0, &call, message).await?))
    }

    async fn renew_erasure(
        &self,
        request: Request<pb::RenewErasureRequest>,
    ) -> Result<Response<pb::RenewErasureResponse>, Status> {
        let (call, message) = self.0.open("Subjects/RenewErasure", request).await?;
        let write = self.0.write(&call, &message, TenantId::system(), |_, _| Ok(Command::WantGeneration));
        Ok(Response::new(pb::RenewErasureResponse { result: write.await? }))
    }

    async fn read_key_table(
        &self,
        request: Request<pb::ReadKeyTableRequest>,
    ) -> Result<Response<pb::ReadKeyTableResponse>, Status> {
        let (call, message) = self.0.open("Subjects/ReadKeyTable", request).await?;
        Ok(Response::new(table::page(&self.0, &call, message).await?))
    }
}
