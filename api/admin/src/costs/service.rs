//! gRPC face of the Costs service.

use std::sync::Arc;

use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::costs_server::Costs;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{correct, export, report};
use crate::core::Core;

pub(crate) struct CostsService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Costs for CostsService {
    type ExportCostsStream = ReceiverStream<Result<pb::ExportCostsResponse, Status>>;

    async fn report_costs(
        &self,
        request: Request<pb::ReportCostsRequest>,
    ) -> Result<Response<pb::ReportCostsResponse>, Status> {
        let (call, message) = self.0.open("Costs/ReportCosts", request).await?;
        Ok(Response::new(report::report(&self.0, &call, message).await?))
    }

    async fn export_costs(
        &self,
        request: Request<pb::ExportCostsRequest>,
    ) -> Result<Response<Self::ExportCostsStream>, Status> {
        let (call, message) = self.0.open("Costs/ExportCosts", request).await?;
        let parts = export::export(self.0.clone(), call, message).await?;
        Ok(Response::new(ReceiverStream::new(parts)))
    }

    async fn correct_cost(
        &self,
        request: Request<pb::CorrectCostRequest>,
    ) -> Result<Response<pb::CorrectCostResponse>, Status> {
        let (call, message) = self.0.open("Costs/CorrectCost", request).await?;
        Ok(Response::new(correct::correct(&self.0, &call, message).await?))
    }
}
