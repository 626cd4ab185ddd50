//! gRPC face of the Budgets service.

use std::sync::Arc;

use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::budgets_server::Budgets;
use tonic::{Request, Response, Status};

use super::{accounts, definitions, force_close, recall};
use crate::core::Core;

pub(crate) struct BudgetsService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Budgets for BudgetsService {
    async fn put_budget(
        &self,
        request: Request<pb::PutBudgetRequest>,
    ) -> Result<Response<pb::PutBudgetResponse>, Status> {
        let (call, message) = self.0.open("Budgets/PutBudget", request).await?;
        Ok(Response::new(definitions::put(&self.0, &call, message).await?))
    }

    async fn get_budget(
        &self,
        request: Request<pb::GetBudgetRequest>,
    ) -> Result<Response<pb::GetBudgetResponse>, Status> {
        let (call, message) = self.0.open("Budgets/GetBudget", request).await?;
        Ok(Response::new(definitions::get(&self.0, &call, message).await?))
    }

    async fn list_budgets(
        &self,
        request: Request<pb::ListBudgetsRequest>,
    ) -> Result<Response<pb::ListBudgetsResponse>, Status> {
        let (call, message) = self.0.open("Budgets/ListBudgets", request).await?;
        Ok(Response::new(definitions::list(&self.0, &call, message).await?))
    }

    async fn delete_budget(
        &self,
        request: Request<pb::DeleteBudgetRequest>,
    ) -> Result<Response<pb::DeleteBudgetResponse>, Status> {
        let (call, message) = self.0.open("Budgets/DeleteBudget", request).await?;
        Ok(Response::new(definitions::delete(&self.0, &call, message).await?))
    }

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        let (call, message) = self.0.open("Budgets/ListAccounts", request).await?;
        Ok(Response::new(accounts::list(&self.0, &call, message).await?))
    }

    async fn force_close(
        &self,
        request: Request<pb::ForceCloseRequest>,
    ) -> Result<Response<pb::ForceCloseResponse>, Status> {
        let (call, message) = self.0.open("Budgets/ForceClose", request).await?;
        Ok(Response::new(force_close::force_close(&self.0, &call, message).await?))
    }

    async fn recall(
        &self,
        request: Request<pb::RecallRequest>,
    ) -> Result<Response<pb::RecallResponse>, Status> {
        let (call, message) = self.0.open("Budgets/Recall", request).await?;
        Ok(Response::new(recall::recall(&self.0, &call, message).await?))
    }
}
