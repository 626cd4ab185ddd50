//! A well-formed request for every RPC, about a given tenant: so that what refuses it is authority, not form.

use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use prost::Message as _;

macro_rules! samples {
    ($method:expr, $($name:literal => $message:expr,)*) => {
        match $method {
            $($name => $message.encode_to_vec(),)*
            other => panic!("{other} is new: give it a line here, in api/admin/src/authority.rs, and in the allow lists"),
        }
    };
}

pub fn sample(method: &str, tenant: &str) -> Vec<u8> {
    let tenant = tenant.to_owned();
    let t = || tenant.clone();
    let question = || {
        let action = Some(pb::question::Action::Execute("files__read".into()));
        Some(pb::Question { tenant: t(), action, ..Default::default() })
    };
    samples! { method,
        "Cluster/Status" => pb::StatusRequest {},
        "Cluster/CreateJoinToken" => pb::CreateJoinTokenRequest::default(),
        "Cluster/RemoveNode" => pb::RemoveNodeRequest { node: 9, ..Default::default() },
        "Cluster/TransferLeader" => pb::TransferLeaderRequest { node: 1 },
        "Cluster/GetSettings" => pb::GetSettingsRequest::default(),
        "Cluster/SetSettings" => pb::SetSettingsRequest {
            settings: Some((&only1mcp_domain::model::ClusterSettings::new("test")).into()),
            ..Default::default()
        },
        "Cluster/PromoteNode" => pb::PromoteNodeRequest { node: 9, ..Default::default() },
        "Cluster/FinishUpgrade" => pb::FinishUpgradeRequest::default(),
        "Cluster/WatchConfiguration" => pb::WatchConfigurationRequest { from_revision: 0, tenant: t() },
        "Subjects/GetSubject" => pb::GetSubjectRequest {
            tenant: t(), principal: "developer".into(), ..Default::default()
        },
        "Subjects/EraseSubject" => pb::EraseSubjectRequest {
            tenant: t(), principal: "nobody".into(), ..Default::default()
        },
        "Subjects/HoldSubject" => pb::HoldSubjectRequest {
            tenant: t(), principal: "nobody".into(), hold: "case 7".into(), ..Default::default()
        },
        "Subjects/GetErasure" => pb::GetErasureRequest::default(),
        "Subjects/RenewErasure" => pb::RenewErasureRequest::default(),
        "Subjects/ReadKeyTable" => pb::ReadKeyTableRequest::default(),
        "Backups/CreateBackup" => pb::CreateBackupRequest::default(),
        "Backups/ReadSegment" => pb::ReadSegmentRequest { first: 1, address: vec![1; 32].into(), offset: 0 },
        "Tenants/CreateTenant" => pb::CreateTenantRequest {
            tenant: Some(m::Tenant { id: "new".into(), name: "New".into(), ..Default::default() }),
            ..Default::default()
        },
        "Tenants/GetTenant" => pb::GetTenantRequest { tenant: t(), ..Default::default() },
        "Tenants/ListTenants" => pb::ListTenantsRequest::default(),
        "Tenants/UpdateTenant" => pb::UpdateTenantRequest {
            tenant: Some(m::Tenant { id: t(), name: "Renamed".into(), ..Default::default() }),
            ..Default::default()
        },
        "Tenants/SetTenantStatus" => pb::SetTenantStatusRequest {
            tenant: t(), status: m::TenantStatus::Active.into(), ..Default::default()
        },
        "Tenants/ListTemplates" => pb::ListTemplatesRequest {},
        "Principals/CreatePrincipal" => pb::CreatePrincipalRequest {
            principal: Some(m::Principal {
                tenant: t(), id: "new".into(), kind: m::PrincipalKind::Person.into(), ..Default::default()
            }),
            ..Default::default()
        },
        "Principals/GetPrincipal" => pb::GetPrincipalRequest {
            tenant: t(), principal: "developer".into(), ..Default::default()
        },
        "Principals/ListPrincipals" => pb::ListPrincipalsRequest { tenant: t(), ..Default::default() },
        "Principals/UpdatePrincipal" => pb::UpdatePrincipalRequest {
            principal: Some(m::Principal {
                tenant: t(), id: "developer".into(), kind: m::PrincipalKind::Person.into(), ..Default::default()
            }),
            ..Default::default()
        },
        "Principals/DeletePrincipal" => pb::DeletePrincipalRequest {
            tenant: t(), principal: "nobody".into(), ..Default::default()
        },
        "Principals/CreateKey" => pb::CreateKeyRequest {
            tenant: t(), principal: "developer".into(), ..Default::default()
        },
        "Principals/ListKeys" => pb::ListKeysRequest { tenant: t(), ..Default::default() },
        "Principals/RotateKey" => pb::RotateKeyRequest {
            tenant: t(), key_id: "k0000000000000000".into(), ..Default::default()
        },
        "Principals/RevokeKey" => pb::RevokeKeyRequest {
            tenant: t(), key_id: "k0000000000000000".into(), ..Default::default()
        },
        "Principals/WhoAmI" => pb::WhoAmIRequest {},
        "Roles/PutRole" => pb::PutRoleRequest {
            role: Some(m::Role {
                tenant: t(), id: "looker".into(), permissions: vec!["ServerView".into()], ..Default::default()
            }),
            ..Default::default()
        },
        "Roles/GetRole" => pb::GetRoleRequest { tenant: t(), role: "viewer".into(), ..Default::default() },
        "Roles/ListRoles" => pb::ListRolesRequest { tenant: t(), ..Default::default() },
        "Roles/DeleteRole" => pb::DeleteRoleRequest { tenant: t(), role: "looker".into(), ..Default::default() },
        "Roles/CreateGrant" => pb::CreateGrantRequest {
            grant: Some(m::Grant {
                tenant: t(), principal: "developer".into(), role: "viewer".into(), ..Default::default()
            }),
            ..Default::default()
        },
        "Roles/ListGrants" => pb::ListGrantsRequest { tenant: t(), ..Default::default() },
        "Roles/RevokeGrant" => pb::RevokeGrantRequest { tenant: t(), grant: "g1".into(), ..Default::default() },
        "Roles/PutRestriction" => pb::PutRestrictionRequest {
            restriction: Some(m::ToolRestriction {
                tenant: t(), id: "r1".into(), tools: "files__*".into(), allowed_roles: vec!["admin".into()],
                rate_limit: Some(m::RateLimit { count: 10, per: m::RatePeriod::Hour.into() }),
                ..Default::default()
            }),
            ..Default::default()
        },
        "Roles/ListRestrictions" => pb::ListRestrictionsRequest { tenant: t(), ..Default::default() },
        "Roles/DeleteRestriction" => pb::DeleteRestrictionRequest {
            tenant: t(), rule: "r1".into(), ..Default::default()
        },
        "Roles/PutDeny" => pb::PutDenyRequest {
            deny: Some(m::DenyRule {
                tenant: t(), id: "d1".into(), tools: "files__delete".into(),
                subject: Some(m::DenySubject {
                    subject: Some(m::deny_subject::Subject::Everyone(m::Everyone {})),
                }),
                ..Default::default()
            }),
            ..Default::default()
        },
        "Roles/ListDenies" => pb::ListDeniesRequest { tenant: t(), ..Default::default() },
        "Roles/DeleteDeny" => pb::DeleteDenyRequest { tenant: t(), rule: "d1".into(), ..Default::default() },
        "Decisions/Check" => pb::CheckRequest { question: question(), ..Default::default() },
        "Decisions/Explain" => pb::ExplainRequest { question: question(), ..Default::default() },
        "Upstreams/PutUpstream" => pb::PutUpstreamRequest {
            upstream: Some(upstream(&tenant, "files")), ..Default::default()
        },
        "Upstreams/GetUpstream" => pb::GetUpstreamRequest {
            tenant: t(), upstream: "files".into(), ..Default::default()
        },
        "Upstreams/ListUpstreams" => pb::ListUpstreamsRequest { tenant: t(), ..Default::default() },
        "Upstreams/DeleteUpstream" => pb::DeleteUpstreamRequest {
            tenant: t(), upstream: "files".into(), ..Default::default()
        },
        "Upstreams/SetUpstreamEnabled" => pb::SetUpstreamEnabledRequest {
            tenant: t(), upstream: "files".into(), enabled: true, ..Default::default()
        },
        "Upstreams/SetToolEnabled" => pb::SetToolEnabledRequest {
            tenant: t(), upstream: "files".into(), tool: "read".into(), enabled: true, ..Default::default()
        },
        "Budgets/PutBudget" => pb::PutBudgetRequest { budget: Some(budget(&tenant, "b1")), ..Default::default() },
        "Budgets/GetBudget" => pb::GetBudgetRequest { tenant: t(), budget: "b1".into(), ..Default::default() },
        "Budgets/ListBudgets" => pb::ListBudgetsRequest { tenant: t(), ..Default::default() },
        "Budgets/DeleteBudget" => pb::DeleteBudgetRequest { tenant: t(), budget: "b1".into(), ..Default::default() },
        "Budgets/ListAccounts" => pb::ListAccountsRequest { tenant: t(), ..Default::default() },
        "Budgets/ForceClose" => pb::ForceCloseRequest { node: 9, ..Default::default() },
        "Budgets/Recall" => pb::RecallRequest { tenant: t(), ..Default::default() },
        "Webhooks/PutWebhook" => pb::PutWebhookRequest {
            webhook: Some(webhook(&tenant, "w1")), ..Default::default()
        },
        "Webhooks/GetWebhook" => pb::GetWebhookRequest { tenant: t(), webhook: "w1".into(), ..Default::default() },
        "Webhooks/ListWebhooks" => pb::ListWebhooksRequest { tenant: t(), ..Default::default() },
        "Webhooks/DeleteWebhook" => pb::DeleteWebhookRequest {
            tenant: t(), webhook: "w1".into(), ..Default::default()
        },
        "Prices/PutPrice" => pb::PutPriceRequest { price: Some(price(&tenant, "p1")), ..Default::default() },
        "Prices/GetPrice" => pb::GetPriceRequest { tenant: t(), price: "p1".into(), ..Default::default() },
        "Prices/ListPrices" => pb::ListPricesRequest { tenant: t(), ..Default::default() },
        "Prices/DeletePrice" => pb::DeletePriceRequest { tenant: t(), price: "p1".into(), ..Default::default() },
        "Prices/PutMetering" => pb::PutMeteringRequest { metering: Some(metering(&tenant, "p1")), ..Default::default() },
        "Prices/GetMetering" => pb::GetMeteringRequest { tenant: t(), metering: "p1".into(), ..Default::default() },
        "Prices/ListMeterings" => pb::ListMeteringsRequest { tenant: t(), ..Default::default() },
        "Prices/DeleteMetering" => pb::DeleteMeteringRequest { tenant: t(), metering: "p1".into(), ..Default::default() },
        "Prices/PutDiscount" => pb::PutDiscountRequest { discount: Some(discount(&tenant, "p1")), ..Default::default() },
        "Prices/GetDiscount" => pb::GetDiscountRequest { tenant: t(), discount: "p1".into(), ..Default::default() },
        "Prices/ListDiscounts" => pb::ListDiscountsRequest { tenant: t(), ..Default::default() },
        "Prices/DeleteDiscount" => pb::DeleteDiscountRequest { tenant: t(), discount: "p1".into(), ..Default::default() },
        "Prices/PutExchangeRate" => pb::PutExchangeRateRequest { rate: Some(rate("EUR")), ..Default::default() },
        "Prices/ListExchangeRates" => pb::ListExchangeRatesRequest::default(),
        "Prices/DeleteExchangeRate" => pb::DeleteExchangeRateRequest {
            currency: "EUR".into(), ..Default::default()
        },
        "Costs/ReportCosts" => pb::ReportCostsRequest {
            tenant: t(), to_ms: 1_000, ..Default::default()
        },
        "Costs/ExportCosts" => pb::ExportCostsRequest { tenant: t(), ..Default::default() },
        "Costs/CorrectCost" => pb::CorrectCostRequest {
            tenant: t(),
            record: "5-6".into(),
            refund: Some(pb::correct_cost_request::Refund::Full(true)),
            reason: "refunded".into(),
            ..Default::default()
        },
        "Audit/QueryAudit" => pb::QueryAuditRequest {
            filter: Some(pb::AuditFilter { tenant: t(), ..Default::default() }), ..Default::default()
        },
        "Audit/VerifyAudit" => pb::VerifyAuditRequest::default(),
        "Audit/ExportAudit" => pb::ExportAuditRequest { tenant: t(), ..Default::default() },
        "Audit/GetAuditHead" => pb::GetAuditHeadRequest::default(),
        "Audit/GetCheckpoint" => pb::GetCheckpointRequest::default(),
        "Audit/ProveAudit" => pb::ProveAuditRequest { index: 1 },
        "Audit/GetSigners" => pb::GetSignersRequest::default(),
        "Audit/GetRetention" => pb::GetRetentionRequest::default(),
        "Audit/SetRetention" => pb::SetRetentionRequest::default(),
        "Audit/RunRetention" => pb::RunRetentionRequest::default(),
        "Audit/PlanRetention" => pb::PlanRetentionRequest::default(),
        "Audit/WatchAudit" => pb::WatchAuditRequest { tenant: t(), from_index: 1 },
    }
}

pub fn upstream(tenant: &str, id: &str) -> m::Upstream {
    let url = "http://127.0.0.1:9/mcp".to_owned();
    m::Upstream {
        tenant: tenant.into(),
        id: id.into(),
        transport: Some(m::Transport { kind: Some(m::transport::Kind::Http(m::HttpTransport { url })) }),
        headers: vec![m::HeaderSecret { name: "authorization".into(), value: Some("hidden".into()) }],
        enabled: true,
        ..Default::default()
    }
}

pub fn webhook(tenant: &str, id: &str) -> pb::Webhook {
    pb::Webhook {
        tenant: tenant.into(),
        id: id.into(),
        url: "https://example.com/hook".into(),
        ..Default::default()
    }
}

/// A thousand calls an hour.
pub fn budget(tenant: &str, id: &str) -> pb::Budget {
    pb::Budget {
        tenant: tenant.into(),
        id: id.into(),
        measure: m::Measure::Calls.into(),
        period: m::PeriodKind::Hour.into(),
        amount: "1000".into(),
        ..Default::default()
    }
}

/// Two cents a call.
pub fn price(tenant: &str, id: &str) -> pb::Price {
    pb::Price {
        tenant: tenant.into(),
        id: id.into(),
        subject: Some(pb::price::Subject::Tools("files__*".into())),
        lines: vec![pb::PriceLine { meter: "call".into(), price: "0.02".into(), ..Default::default() }],
        ..Default::default()
    }
}

pub fn metering(tenant: &str, id: &str) -> pb::Metering {
    use pb::meter_source::Source;
    let minus = vec!["/usage/cached".to_owned()];
    let difference = pb::PointerDifference { of: "/usage/input".into(), minus };
    let usage = [
        ("uncached_input", Source::Difference(difference)),
        ("output", Source::Pointer("/usage/output".into())),
        ("call", Source::Counted(true)),
    ];
    let usage = usage.map(|(meter, source)| pb::MeterSource { meter: meter.into(), source: Some(source) });
    pb::Metering {
        tenant: tenant.into(),
        id: id.into(),
        tools: "files__*".into(),
        provider: "maker".into(),
        model: "big/1".into(),
        tags: [("kind".to_owned(), "llm".to_owned())].into(),
        model_pointer: Some("/model".into()),
        total_pointer: None,
        usage: usage.into(),
        bounds: vec![pb::MeterUnits { meter: "output".into(), units: 4_000 }],
    }
}

pub fn discount(tenant: &str, id: &str) -> pb::Discount {
    let commitment = pb::CommitmentDiscount { factor: "0.9".into() };
    pb::Discount {
        tenant: tenant.into(),
        id: id.into(),
        kind: Some(pb::discount::Kind::Commitment(commitment)),
        ..Default::default()
    }
}

pub fn rate(currency: &str) -> pb::ExchangeRate {
    pb::ExchangeRate { currency: currency.into(), usd_per_unit: "1.0837".into(), ..Default::default() }
}
