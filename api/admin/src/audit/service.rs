//! gRPC face of the Audit service.

use std::sync::Arc;

use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::audit_server::Audit;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{export, prove, query, retention, verify, watch};
use crate::core::Core;

pub(crate) struct AuditService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Audit for AuditService {
    type ExportAuditStream = ReceiverStream<Result<pb::ExportAuditResponse, Status>>;
    type WatchAuditStream = ReceiverStream<Result<pb::WatchAuditResponse, Status>>;

    async fn query_audit(
        &self,
        request: Request<pb::QueryAuditRequest>,
    ) -> Result<Response<pb::QueryAuditResponse>, Status> {
        let (call, message) = self.0.open("Audit/QueryAudit", request).await?;
        Ok(Response::new(query::query(&self.0, &call, message).await?))
    }

    async fn verify_audit(
        &self,
        request: Request<pb::VerifyAuditRequest>,
    ) -> Result<Response<pb::VerifyAuditResponse>, Status> {
        let (call, message) = self.0.open("Audit/VerifyAudit", request).await?;
        Ok(Response::new(verify::verify(&self.0, &call, message).await?))
    }

    async fn export_audit(
        &self,
        request: Request<pb::ExportAuditRequest>,
    ) -> Result<Response<Self::ExportAuditStream>, Status> {
        let (call, message) = self.0.open("Audit/ExportAudit", request).await?;
        let parts = export::export(self.0.clone(), call, message).await?;
        Ok(Response::new(ReceiverStream::new(parts)))
    }

    async fn get_audit_head(
        &self,
        request: Request<pb::GetAuditHeadRequest>,
    ) -> Result<Response<pb::GetAuditHeadResponse>, Status> {
        let (call, message) = self.0.open("Audit/GetAuditHead", request).await?;
        let view = self.0.read(&call, message.consistency, &call.identity.tenant).await?;
        let chain = view.state.chain;
        Ok(Response::new(pb::GetAuditHeadResponse {
            read: self.0.read_info(&view),
            index: chain.index.0,
            hash: chain.hash.0.to_vec().into(),
        }))
    }

    async fn get_checkpoint(
        &self,
        request: Request<pb::GetCheckpointRequest>,
    ) -> Result<Response<pb::GetCheckpointResponse>, Status> {
        let (call, message) = self.0.open("Audit/GetCheckpoint", request).await?;
        Ok(Response::new(prove::checkpoint(&self.0, &call, message).await?))
    }

    async fn prove_audit(
        &self,
        request: Request<pb::ProveAuditRequest>,
    ) -> Result<Response<pb::ProveAuditResponse>, Status> {
        let (call, message) = self.0.open("Audit/ProveAudit", request).await?;
        Ok(Response::new(prove::event(&self.0, &call, message).await?))
    }

    async fn get_signers(
        &self,
        request: Request<pb::GetSignersRequest>,
    ) -> Result<Response<pb::GetSignersResponse>, Status> {
        let (call, message) = self.0.open("Audit/GetSigners", request).await?;
        Ok(Response::new(prove::signers(&self.0, &call, message).await?))
    }

    async fn get_retention(
        &self,
        request: Request<pb::GetRetentionRequest>,
    ) -> Result<Response<pb::GetRetentionResponse>, Status> {
        let (call, message) = self.0.open("Audit/GetRetention", request).await?;
        Ok(Response::new(retention::show(&self.0, &call, message).await?))
    }

    async fn set_retention(
        &self,
        request: Request<pb::SetRetentionRequest>,
    ) -> Result<Response<pb::SetRetentionResponse>, Status> {
        let (call, message) = self.0.open("Audit/SetRetention", request).await?;
        Ok(Response::new(retention::set(&self.0, &call, message).await?))
    }

    async fn run_retention(
        &self,
        request: Request<pb::RunRetentionRequest>,
    ) -> Result<Response<pb::RunRetentionResponse>, Status> {
        let (call, message) = self.0.open("Audit/RunRetention", request).await?;
        Ok(Response::new(retention::run(&self.0, &call, message).await?))
    }

    async fn plan_retention(
        &self,
        request: Request<pb::PlanRetentionRequest>,
    ) -> Result<Response<pb::PlanRetentionResponse>, Status> {
        let (call, message) = self.0.open("Audit/PlanRetention", request).await?;
        Ok(Response::new(retention::plan(&self.0, &call, message).await?))
    }

    async fn watch_audit(
        &self,
        request: Request<pb::WatchAuditRequest>,
    ) -> Result<Response<Self::WatchAuditStream>, Status> {
        let (call, message) = self.0.open("Audit/WatchAudit", request).await?;
        let records = watch::watch(self.0.clone(), call, message).await?;
        Ok(Response::new(ReceiverStream::new(records)))
    }
}
