//! `ctl tenant`.

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use serde_json::{Value, json};

use super::conditions::{self, ConditionArgs};
use super::parse::{self, pair, time_text};
use super::quotas;
use super::session::Session;
use super::write::{ConditionalArgs, WriteArgs};

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Makes a tenant, with the quotas of its tier unless others are given.
    Create {
        id: String,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        write: WriteArgs,
    },
    List,
    /// One tenant, with all its fields; your own where none is named.
    Show {
        #[arg(default_value = "")]
        id: String,
    },
    /// Changes the fields that are named; the others stay.
    Update {
        id: String,
        #[command(flatten)]
        fields: Fields,
        /// Takes all conditions away before setting those that are named.
        #[arg(long)]
        clear_conditions: bool,
        #[command(flatten)]
        write: ConditionalArgs,
    },
    /// Refuses every call of its principals from now on; its records stay.
    Suspend(StatusArgs),
    /// Ends a suspension.
    Activate(StatusArgs),
    /// As suspend, for good: its id is never given again.
    Close(StatusArgs),
    /// Quotas each tier starts with.
    Templates,
}

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    id: String,
    #[command(flatten)]
    write: ConditionalArgs,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Tier {
    Starter,
    Professional,
    Enterprise,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Seal {
    Journaled,
    Sealed,
    BeforeDispatch,
    Completion,
}

#[derive(Args, Debug)]
pub(super) struct Fields {
    /// Name for people; the id where left out on create.
    #[arg(long)]
    name: Option<String>,
    #[arg(long, value_enum)]
    tier: Option<Tier>,
    /// NAME=NUMBER or NAME=unlimited. May be repeated.
    #[arg(long, value_parser = pair)]
    quota: Vec<(String, String)>,
    #[arg(long)]
    data_region: Option<String>,
    #[arg(long)]
    cost_center: Option<String>,
    /// KEY=VALUE in the cost records of every call; an empty value takes it away. May be repeated.
    #[arg(long, value_parser = pair)]
    cost_tag: Vec<(String, String)>,
    /// Attribute of the caller that is a tag of cost records, too; empty for none. May be repeated.
    #[arg(long, value_name = "NAME")]
    tag_from_attribute: Vec<String>,
    /// Key that a call may set in `_meta["only1mcp/tags"]`; empty for none. May be repeated.
    #[arg(long, value_name = "KEY")]
    tag_from_call: Vec<String>,
    #[arg(long)]
    billing_id: Option<String>,
    #[arg(long)]
    billing_contact: Option<String>,
    /// Host name under which the gateway takes requests for this tenant; empty for none.
    #[arg(long)]
    custom_domain: Option<String>,
    /// When answers may leave a node.
    #[arg(long, value_enum)]
    seal_mode: Option<Seal>,
    /// Calls must come from this network, whatever the role. May be repeated.
    #[arg(long, value_name = "CIDR")]
    network: Vec<String>,
    /// Browser origin that the gateway accepts. May be repeated.
    #[arg(long)]
    origin: Vec<String>,
    /// Shared upstream to offer; all of them where none is named. May be repeated.
    #[arg(long)]
    shared_upstream: Vec<String>,
    #[command(flatten)]
    conditions: ConditionArgs,
}

impl Fields {
    /// Sets what was typed.
    fn set(self, tenant: &mut m::Tenant) -> anyhow::Result<()> {
        if let Some(name) = self.name {
            tenant.name = name;
        }
        if let Some(tier) = self.tier {
            tenant.tier = match tier {
                Tier::Starter => m::TenantTier::Starter,
                Tier::Professional => m::TenantTier::Professional,
                Tier::Enterprise => m::TenantTier::Enterprise,
            }
            .into();
        }
        if let Some(seal) = self.seal_mode {
            tenant.seal_mode = match seal {
                Seal::Journaled => m::SealMode::Journaled,
                Seal::Sealed => m::SealMode::Sealed,
                Seal::BeforeDispatch => m::SealMode::BeforeDispatch,
                Seal::Completion => m::SealMode::Completion,
            }
            .into();
        }
        for (name, value) in &self.quota {
            quotas::set(tenant.quotas.get_or_insert_default(), name, value)?;
        }
        if let Some(region) = self.data_region {
            tenant.data_region = region;
        }
        if let Some(cost_center) = self.cost_center {
            tenant.cost_center = cost_center;
        }
        let tags = tenant.cost_tags.get_or_insert_default();
        parse::set_pairs(&mut tags.fixed, self.cost_tag);
        for (names, named) in
            [(&mut tags.attributes, self.tag_from_attribute), (&mut tags.call_keys, self.tag_from_call)]
        {
            if !named.is_empty() {
                *names = named.into_iter().filter(|name| !name.is_empty()).collect();
            }
        }
        if let Some(id) = self.billing_id {
            tenant.billing_account.get_or_insert_default().id = id;
        }
        if let Some(contact) = self.billing_contact {
            tenant.billing_account.get_or_insert_default().contact = contact;
        }
        if let Some(domain) = self.custom_domain {
            tenant.custom_domain = (!domain.is_empty()).then_some(domain);
        }
        if !self.network.is_empty() {
            tenant.network_config.get_or_insert_default().ip_allowlist = self.network;
        }
        if !self.origin.is_empty() {
            tenant.network_config.get_or_insert_default().allowed_origins = self.origin;
        }
        if !self.shared_upstream.is_empty() {
            tenant.shared_upstreams = Some(m::TextList { items: self.shared_upstream });
        }
        if self.conditions.any() {
            tenant.constraints = Some(self.conditions.message());
        }
        Ok(())
    }
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    use m::TenantStatus::{Active, Closed, Suspended};
    match command {
        Command::Create { id, fields, write } => create(session, id, fields, write).await,
        Command::List => list(session).await,
        Command::Show { id } => session.printer.record(&shown(&get(session, id).await?)),
        Command::Update { id, fields, clear_conditions, write } => {
            update(session, id, fields, clear_conditions, write).await
        }
        Command::Suspend(args) => set_status(session, args, Suspended, "suspended").await,
        Command::Activate(args) => set_status(session, args, Active, "active").await,
        Command::Close(args) => set_status(session, args, Closed, "closed").await,
        Command::Templates => templates(session).await,
    }
}

async fn create(session: &Session, id: String, fields: Fields, write: WriteArgs) -> anyhow::Result<()> {
    let mut tenant = m::Tenant { id: id.clone(), name: id.clone(), ..Default::default() };
    if !fields.quota.is_empty() {
        // Named quotas change the tier's template; they do not replace it.
        let tier = fields.tier.map_or(m::TenantTier::Starter, |tier| match tier {
            Tier::Starter => m::TenantTier::Starter,
            Tier::Professional => m::TenantTier::Professional,
            Tier::Enterprise => m::TenantTier::Enterprise,
        });
        let templates =
            session.tenants().list_templates(pb::ListTemplatesRequest {}).await?.into_inner().templates;
        tenant.quotas = templates.into_iter().find(|template| template.tier() == tier).and_then(|t| t.quotas);
    }
    fields.set(&mut tenant)?;
    let request = pb::CreateTenantRequest { options: write.options(), tenant: Some(tenant) };
    let send = || async { session.tenants().create_tenant(request.clone()).await };
    let result = session.send(send).await?.result;
    session.written(&format!("tenant {id} is created"), result, json!({"tenant": id}))
}

async fn get(session: &Session, tenant: String) -> anyhow::Result<pb::TenantRecord> {
    let request = pb::GetTenantRequest { consistency: session.consistency(), tenant };
    session
        .tenants()
        .get_tenant(request)
        .await?
        .into_inner()
        .record
        .context("the server's answer is incomplete")
}

async fn update(
    session: &Session,
    id: String,
    fields: Fields,
    clear_conditions: bool,
    write: ConditionalArgs,
) -> anyhow::Result<()> {
    let present = get(session, id.clone()).await?;
    let mut tenant = present.tenant.context("the server's answer is incomplete")?;
    if clear_conditions {
        tenant.constraints = None;
    }
    fields.set(&mut tenant)?;
    let options = write.options_or(present.revision);
    let request = pb::UpdateTenantRequest { options, tenant: Some(tenant) };
    let send = || async { session.tenants().update_tenant(request.clone()).await };
    let result = session.send(send).await?.result;
    session.written(&format!("tenant {id} is changed"), result, json!({"tenant": id}))
}

async fn set_status(
    session: &Session,
    args: StatusArgs,
    status: m::TenantStatus,
    name: &str,
) -> anyhow::Result<()> {
    let id = args.id;
    let options = args.write.options();
    let request = pb::SetTenantStatusRequest { options, tenant: id.clone(), status: status.into() };
    let send = || async { session.tenants().set_tenant_status(request.clone()).await };
    let result = session.send(send).await?.result;
    session.written(&format!("tenant {id} is {name}"), result, json!({"tenant": id, "status": name}))
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            pb::ListTenantsRequest { consistency: session.consistency(), page_size: 500, page_token };
        let page = session.tenants().list_tenants(request).await?.into_inner();
        records.extend(page.records.iter().map(shown));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let columns = [
        ("ID", "id"),
        ("NAME", "name"),
        ("TIER", "tier"),
        ("STATUS", "status"),
        ("SEAL MODE", "seal_mode"),
        ("CREATED", "created_at"),
        ("NOT ENFORCED YET", "not_enforced_count"),
    ];
    session.printer.list(&columns, records)
}

async fn templates(session: &Session) -> anyhow::Result<()> {
    let answer = session.tenants().list_templates(pb::ListTemplatesRequest {}).await?.into_inner();
    let records = answer.templates.iter().map(|template| {
        json!({"tier": tier_name(template.tier()), "quotas": quotas::json_of(template.quotas.as_ref())})
    });
    session.printer.list(&[("TIER", "tier"), ("QUOTAS", "quotas")], records.collect())
}

fn tier_name(tier: m::TenantTier) -> &'static str {
    match tier {
        m::TenantTier::Unspecified => "unspecified",
        m::TenantTier::Starter => "starter",
        m::TenantTier::Professional => "professional",
        m::TenantTier::Enterprise => "enterprise",
    }
}

pub(super) fn seal_mode_name(mode: m::SealMode) -> &'static str {
    match mode {
        m::SealMode::Unspecified => "unspecified",
        m::SealMode::Journaled => "journaled",
        m::SealMode::Sealed => "sealed",
        m::SealMode::BeforeDispatch => "before_dispatch",
        m::SealMode::Completion => "completion",
    }
}

fn isolation(mode: Option<&m::IsolationMode>) -> Value {
    use m::isolation_mode::Mode;
    match mode.and_then(|mode| mode.mode.as_ref()) {
        None => Value::Null,
        Some(Mode::Logical(logical)) => {
            json!({"mode": "logical", "namespace": logical.namespace, "database_schema": logical.database_schema})
        }
        Some(Mode::Hybrid(hybrid)) => json!({
            "mode": "hybrid", "dedicated_nodes": hybrid.dedicated_nodes, "shared_storage": hybrid.shared_storage,
        }),
        Some(Mode::Physical(physical)) => json!({
            "mode": "physical", "dedicated_cluster": physical.dedicated_cluster,
            "dedicated_database": physical.dedicated_database, "dedicated_network": physical.dedicated_network,
        }),
    }
}

fn shown(record: &pb::TenantRecord) -> Value {
    let Some(tenant) = &record.tenant else { return Value::Null };
    let status = match tenant.status() {
        m::TenantStatus::Unspecified => "unspecified",
        m::TenantStatus::Active => "active",
        m::TenantStatus::Suspended => "suspended",
        m::TenantStatus::Closed => "closed",
    };
    let tools = tenant.tool_seal_modes.keys().map(|tool| {
        let mode = tenant.tool_seal_modes.get(tool).and_then(|mode| m::SealMode::try_from(*mode).ok());
        (tool.clone(), json!(mode.map(seal_mode_name)))
    });
    let tools: serde_json::Map<String, Value> = tools.collect();
    let branding = tenant.branding.as_ref();
    json!({
        "id": tenant.id,
        "name": tenant.name,
        "tier": tier_name(tenant.tier()),
        "status": status,
        "seal_mode": seal_mode_name(tenant.seal_mode()),
        "tool_seal_modes": tools,
        "isolation": isolation(tenant.isolation_mode.as_ref()),
        "quotas": quotas::json_of(tenant.quotas.as_ref()),
        "networks": tenant.network_config.as_ref().map(|network| network.ip_allowlist.clone()),
        "origins": tenant.network_config.as_ref().map(|network| network.allowed_origins.clone()),
        "data_region": tenant.data_region,
        "encryption_key_id": tenant.encryption_key_id,
        "custom_domain": tenant.custom_domain,
        "branding": branding.map(|b| json!({"display_name": b.display_name, "logo_url": b.logo_url})),
        "billing": tenant.billing_account.as_ref().map(|b| json!({"id": b.id, "contact": b.contact})),
        "cost_center": tenant.cost_center,
        "cost_tags": tenant.cost_tags.as_ref().map(|tags| {
            json!({"fixed": tags.fixed, "from_attributes": tags.attributes, "from_calls": tags.call_keys})
        }),
        "shared_upstreams": tenant.shared_upstreams.as_ref().map_or_else(|| json!("all"), |list| json!(list.items)),
        "conditions": conditions::json_of(tenant.constraints.as_ref()),
        "created_at": time_text(tenant.created_at_ms),
        "updated_at": time_text(tenant.updated_at_ms),
        "revision": record.revision,
        "storage_bytes": record.storage_bytes,
        "not_enforced": record.not_enforced,
        "not_enforced_count": record.not_enforced.len(),
    })
}
