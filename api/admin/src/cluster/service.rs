//! gRPC face of the Cluster service.

use std::sync::Arc;

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{NodeId, TenantId};
use only1mcp_domain::model::{ClusterSettings, NodeRole};
use only1mcp_domain::outcome::Rejection;
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::cluster_server::Cluster;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{join_token, status, upgrade, watch};
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::ports::{Consistency, MembershipFailure, ProposeFailure};
use crate::wire;
use crate::write::Route;

pub(crate) struct ClusterService(pub(crate) Arc<Core>);

impl ClusterService {
    async fn transfer(&self, call: &Call, to: NodeId) -> Result<(), AdminError> {
        let cluster = &self.0.ports.cluster;
        let view = cluster.consistent(Consistency::Linearizable, call.deadline).await?;
        self.0.authorize(call, &view, &TenantId::system())?;
        cluster.transfer_leader(to, call.deadline).await.map_err(|failure| match failure {
            MembershipFailure::Propose(ProposeFailure::NotReady) => AdminError::Unavailable,
            MembershipFailure::Propose(ProposeFailure::DiskLow) => AdminError::DiskLow,
            MembershipFailure::Propose(ProposeFailure::Unknown) => AdminError::TransferUnknown,
            MembershipFailure::Propose(ProposeFailure::Stopped(_)) => AdminError::Stopped,
            MembershipFailure::Refused(detail) => AdminError::MembershipRefused { detail },
        })
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    type WatchConfigurationStream = ReceiverStream<Result<pb::WatchConfigurationResponse, Status>>;

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let (call, pb::StatusRequest {}) = self.0.open("Cluster/Status", request).await?;
        Ok(Response::new(status::status(&self.0, &call).await?))
    }

    async fn create_join_token(
        &self,
        request: Request<pb::CreateJoinTokenRequest>,
    ) -> Result<Response<pb::CreateJoinTokenResponse>, Status> {
        let (call, message) = self.0.open("Cluster/CreateJoinToken", request).await?;
        Ok(Response::new(join_token::create(&self.0, &call, message).await?))
    }

    async fn remove_node(
        &self,
        request: Request<pb::RemoveNodeRequest>,
    ) -> Result<Response<pb::RemoveNodeResponse>, Status> {
        let (call, message) = self.0.open("Cluster/RemoveNode", request).await?;
        let command = Command::RemoveNode { node: NodeId(message.node), lose_journal: message.lose_journal };
        let write =
            self.0.write_by(Route::RemoveNode, &call, &message, TenantId::system(), |_, _| Ok(command));
        Ok(Response::new(pb::RemoveNodeResponse { result: write.await? }))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let (call, message) = self.0.open("Cluster/TransferLeader", request).await?;
        self.transfer(&call, NodeId(message.node)).await?;
        Ok(Response::new(pb::TransferLeaderResponse { leader: message.node }))
    }

    async fn get_settings(
        &self,
        request: Request<pb::GetSettingsRequest>,
    ) -> Result<Response<pb::GetSettingsResponse>, Status> {
        let (call, message) = self.0.open("Cluster/GetSettings", request).await?;
        let view = self.0.read(&call, message.consistency, &TenantId::system()).await?;
        let formed = view.state.cluster.as_ref().ok_or(AdminError::Rejected(Rejection::NotFormed {}))?;
        Ok(Response::new(pb::GetSettingsResponse {
            read: self.0.read_info(&view),
            settings: Some((&formed.settings.value).into()),
            revision: formed.settings.revision,
        }))
    }

    async fn set_settings(
        &self,
        request: Request<pb::SetSettingsRequest>,
    ) -> Result<Response<pb::SetSettingsResponse>, Status> {
        let (call, message) = self.0.open("Cluster/SetSettings", request).await?;
        let settings: ClusterSettings = wire::record("settings", message.settings.clone())?;
        upgrade::all_know(&self.0, &call, settings.feature_level).await?;
        let write = self.0.write(&call, &message, TenantId::system(), |draft, _| {
            Ok(Command::SetSettings { settings, if_revision: draft.if_revision })
        });
        Ok(Response::new(pb::SetSettingsResponse { result: write.await? }))
    }

    async fn promote_node(
        &self,
        request: Request<pb::PromoteNodeRequest>,
    ) -> Result<Response<pb::PromoteNodeResponse>, Status> {
        let (call, message) = self.0.open("Cluster/PromoteNode", request).await?;
        let command = Command::SetNodeRole { node: NodeId(message.node), role: NodeRole::Voter };
        let write =
            self.0.write_by(Route::PromoteNode, &call, &message, TenantId::system(), |_, _| Ok(command));
        Ok(Response::new(pb::PromoteNodeResponse { result: write.await? }))
    }

    async fn finish_upgrade(
        &self,
        request: Request<pb::FinishUpgradeRequest>,
    ) -> Result<Response<pb::FinishUpgradeResponse>, Status> {
        let (call, message) = self.0.open("Cluster/FinishUpgrade", request).await?;
        Ok(Response::new(upgrade::finish(&self.0, &call, message).await?))
    }

    async fn watch_configuration(
        &self,
        request: Request<pb::WatchConfigurationRequest>,
    ) -> Result<Response<Self::WatchConfigurationStream>, Status> {
        let (call, message) = self.0.open("Cluster/WatchConfiguration", request).await?;
        let changes = watch::watch(self.0.clone(), call, message).await?;
        Ok(Response::new(ReceiverStream::new(changes)))
    }
}
