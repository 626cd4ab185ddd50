//! All administrative services of a node, ready to be served on its admin port.

use std::sync::Arc;

use only1mcp_proto::DESCRIPTORS;
use only1mcp_proto::admin::audit_server::AuditServer;
use only1mcp_proto::admin::backups_server::BackupsServer;
use only1mcp_proto::admin::budgets_server::BudgetsServer;
use only1mcp_proto::admin::cluster_server::ClusterServer;
use only1mcp_proto::admin::costs_server::CostsServer;
use only1mcp_proto::admin::decisions_server::DecisionsServer;
use only1mcp_proto::admin::prices_server::PricesServer;
use only1mcp_proto::admin::principals_server::PrincipalsServer;
use only1mcp_proto::admin::roles_server::RolesServer;
use only1mcp_proto::admin::subjects_server::SubjectsServer;
use only1mcp_proto::admin::tenants_server::TenantsServer;
use only1mcp_proto::admin::upstreams_server::UpstreamsServer;
use only1mcp_proto::admin::webhooks_server::WebhooksServer;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use crate::audit::AuditService;
use crate::backup::BackupsService;
use crate::budgets::BudgetsService;
use crate::cluster::ClusterService;
use crate::core::Core;
use crate::costs::CostsService;
use crate::decisions::DecisionsService;
use crate::guard::Guarded;
use crate::health::HealthService;
use crate::ports::Ports;
use crate::prices::PricesService;
use crate::principals::PrincipalsService;
use crate::roles::RolesService;
use crate::subjects::SubjectsService;
use crate::tenants::TenantsService;
use crate::upstreams::UpstreamsService;
use crate::webhooks::WebhooksService;

/// Full names of the services, as health and reflection tell them.
pub const SERVICES: [&str; 13] = [
    "only1mcp.admin.v1.Cluster",
    "only1mcp.admin.v1.Tenants",
    "only1mcp.admin.v1.Principals",
    "only1mcp.admin.v1.Roles",
    "only1mcp.admin.v1.Decisions",
    "only1mcp.admin.v1.Upstreams",
    "only1mcp.admin.v1.Budgets",
    "only1mcp.admin.v1.Webhooks",
    "only1mcp.admin.v1.Prices",
    "only1mcp.admin.v1.Costs",
    "only1mcp.admin.v1.Audit",
    "only1mcp.admin.v1.Backups",
    "only1mcp.admin.v1.Subjects",
];

/// Every service over `ports`, with health (open to anybody) and reflection (for valid credentials).
/// Errors: the descriptors do not fit together, which a build of this crate's tests rules out.
pub fn routes(ports: Ports) -> Result<Routes, tonic_reflection::server::Error> {
    let core = Arc::new(Core::new(ports));
    let mut reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    for service in SERVICES {
        reflection = reflection.with_service_name(service);
    }
    let reflection = Guarded {
        core: core.clone(),
        method: "Reflection/ServerReflectionInfo",
        inner: reflection.build_v1()?,
    };
    let health = HealthService::new(core.ports.host.clone(), &SERVICES);
    Ok(Routes::new(ClusterServer::new(ClusterService(core.clone())))
        .add_service(TenantsServer::new(TenantsService(core.clone())))
        .add_service(PrincipalsServer::new(PrincipalsService(core.clone())))
        .add_service(RolesServer::new(RolesService(core.clone())))
        .add_service(DecisionsServer::new(DecisionsService(core.clone())))
        .add_service(UpstreamsServer::new(UpstreamsService(core.clone())))
        .add_service(BudgetsServer::new(BudgetsService(core.clone())))
        .add_service(WebhooksServer::new(WebhooksService(core.clone())))
        .add_service(PricesServer::new(PricesService(core.clone())))
        .add_service(CostsServer::new(CostsService(core.clone())))
        .add_service(AuditServer::new(AuditService(core.clone())))
        .add_service(SubjectsServer::new(SubjectsService(core.clone())))
        .add_service(BackupsServer::new(BackupsService(core)))
        .add_service(HealthServer::new(health))
        .add_service(reflection)
        .prepare())
}
