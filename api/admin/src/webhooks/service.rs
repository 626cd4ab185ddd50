//! gRPC face of the Webhooks service.

use std::sync::Arc;

use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::webhooks_server::Webhooks;
use tonic::{Request, Response, Status};

use super::definitions;
use crate::core::Core;

pub(crate) struct WebhooksService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Webhooks for WebhooksService {
    async fn put_webhook(
        &self,
        request: Request<pb::PutWebhookRequest>,
    ) -> Result<Response<pb::PutWebhookResponse>, Status> {
        let (call, message) = self.0.open("Webhooks/PutWebhook", request).await?;
        Ok(Response::new(definitions::put(&self.0, &call, message).await?))
    }

    async fn get_webhook(
        &self,
        request: Request<pb::GetWebhookRequest>,
    ) -> Result<Response<pb::GetWebhookResponse>, Status> {
        let (call, message) = self.0.open("Webhooks/GetWebhook", request).await?;
        Ok(Response::new(definitions::get(&self.0, &call, message).await?))
    }

    async fn list_webhooks(
        &self,
        request: Request<pb::ListWebhooksRequest>,
    ) -> Result<Response<pb::ListWebhooksResponse>, Status> {
        let (call, message) = self.0.open("Webhooks/ListWebhooks", request).await?;
        Ok(Response::new(definitions::list(&self.0, &call, message).await?))
    }

    async fn delete_webhook(
        &self,
        request: Request<pb::DeleteWebhookRequest>,
    ) -> Result<Response<pb::DeleteWebhookResponse>, Status> {
        let (call, message) = self.0.open("Webhooks/DeleteWebhook", request).await?;
        Ok(Response::new(definitions::delete(&self.0, &call, message).await?))
    }
}
