//! How many bytes a record takes at most when it is stored, so that no row passes its bound and a tenant not its quota.

use crate::limits;
use crate::model::{
    ApiKey, Budget, Constraints, DenyRule, DenySubject, Grant, IsolationMode, Permission, Principal, Role,
    Tenant, ToolRestriction, Transport, Upstream, Webhook,
};
use crate::outcome::Rejection;
use crate::price::{Discount, DiscountKind, Metering, PriceEntry, PriceSubject, UsageSource};

/// What the encoding adds to a text at most: tags and lengths, of an entry of a map too.
const AROUND_TEXT: usize = 16;
/// All numbers, flags and times of a record together.
const AROUND_RECORD: usize = 1_024;

pub(crate) trait Weigh {
    /// Bytes of every text in the record, with what the encoding adds.
    fn weight(&self) -> usize;
}

/// Errors: `LimitReached` where the record would not fit a row.
pub(super) fn fits_row(record: &impl Weigh) -> Result<(), Rejection> {
    if record.weight().saturating_add(AROUND_RECORD) <= limits::ROW_BYTES_MAX {
        return Ok(());
    }
    Err(Rejection::LimitReached { what: "bytes in one record".to_owned(), max: limits::ROW_BYTES_MAX as u64 })
}

fn texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> usize {
    texts.into_iter().fold(0, |sum, text| sum.saturating_add(text.as_ref().len()).saturating_add(AROUND_TEXT))
}

impl Weigh for Constraints {
    fn weight(&self) -> usize {
        /// A network's address and prefix.
        const NETWORK_BYTES: usize = 64;
        let window = self.time_window.as_ref().map_or(0, |window| texts([&window.zone]));
        let networks = self.ip_allowlist.as_ref().map_or(0, |list| list.len().saturating_mul(NETWORK_BYTES));
        let projects = self.allowed_projects.as_ref().map_or(0, texts);
        window.saturating_add(networks).saturating_add(projects)
    }
}

impl Weigh for Tenant {
    fn weight(&self) -> usize {
        const NETWORK_BYTES: usize = 64;
        let isolation = match &self.isolation_mode {
            IsolationMode::Logical { namespace, database_schema } => texts([namespace, database_schema]),
            IsolationMode::Hybrid { dedicated_nodes, .. } => dedicated_nodes.len().saturating_mul(10),
            IsolationMode::Physical { dedicated_cluster, dedicated_database, dedicated_network } => {
                texts([dedicated_cluster, dedicated_database, dedicated_network])
            }
        };
        let branding = self.branding.as_ref();
        [
            isolation,
            texts([
                self.id.as_str(),
                &self.name,
                &self.data_region,
                &self.encryption_key_id,
                &self.cost_center,
            ]),
            texts(self.custom_domain.iter()),
            branding.map_or(0, |branding| texts([&branding.display_name, &branding.logo_url])),
            texts([&self.billing_account.id, &self.billing_account.contact]),
            texts(&self.network_config.allowed_origins),
            self.network_config.ip_allowlist.len().saturating_mul(NETWORK_BYTES),
            texts(self.tool_seal_modes.keys()),
            self.shared_upstreams.as_ref().map_or(0, texts),
            self.constraints.weight(),
            texts(self.cost_tags.fixed.iter().flat_map(|(key, value)| [key, value])),
            texts(&self.cost_tags.attributes),
            texts(&self.cost_tags.call_keys),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

impl Weigh for Principal {
    fn weight(&self) -> usize {
        [
            texts([self.tenant.as_str(), self.id.as_str(), &self.display_name, &self.email]),
            self.personal.as_ref().map_or(0, |personal| personal.slot.ciphertext.len()),
            texts(&self.projects),
            texts(self.attributes.keys()),
            texts(self.attributes.values()),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

impl Weigh for ApiKey {
    fn weight(&self) -> usize {
        let own = texts([self.id.as_str(), self.tenant.as_str(), self.principal.as_str(), &self.label]);
        let tools = texts(self.tools.iter().map(|glob| glob.as_str()));
        own.saturating_add(texts(&self.rotated_from))
            .saturating_add(texts(&self.projects))
            .saturating_add(tools)
    }
}

impl Weigh for Role {
    fn weight(&self) -> usize {
        let permissions = self.permissions.iter().fold(0, |sum: usize, permission| {
            let pattern = match permission {
                Permission::ToolExecute(glob) | Permission::ToolView(glob) => glob.as_str().len(),
                _ => 0,
            };
            sum.saturating_add(pattern).saturating_add(AROUND_TEXT)
        });
        [
            permissions,
            texts([self.tenant.as_str(), self.id.as_str(), &self.name, &self.description, &self.created_by]),
            texts(&self.inherits_from),
            self.constraints.weight(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

impl Weigh for Grant {
    fn weight(&self) -> usize {
        let ids = [self.tenant.as_str(), self.id.as_str(), self.principal.as_str(), self.role.as_str()];
        texts(ids)
            .saturating_add(texts([&self.created_by]))
            .saturating_add(texts(&self.projects))
            .saturating_add(self.conditions.weight())
    }
}

impl Weigh for ToolRestriction {
    fn weight(&self) -> usize {
        let own = texts([self.tenant.as_str(), self.id.as_str(), self.tools.as_str(), &self.description]);
        own.saturating_add(texts(&self.allowed_roles))
    }
}

impl Weigh for Upstream {
    fn weight(&self) -> usize {
        let transport = match &self.transport {
            Transport::Http { url } => texts([url]),
            Transport::Stdio { command, args, env } => texts([command])
                .saturating_add(texts(args))
                .saturating_add(texts(env.keys()))
                .saturating_add(texts(env.values())),
        };
        [
            transport,
            texts([self.tenant.as_str(), self.id.as_str(), &self.description]),
            texts(self.headers.iter().map(|header| &header.name)),
            texts(self.headers.iter().map(|header| &header.value)),
            texts(&self.disabled_tools),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

impl Weigh for DenyRule {
    fn weight(&self) -> usize {
        let subject = match &self.subject {
            DenySubject::Everyone => 0,
            DenySubject::Principal(id) => texts([id]),
            DenySubject::Role(id) => texts([id]),
        };
        let own = texts([self.tenant.as_str(), self.id.as_str(), self.tools.as_str(), &self.description]);
        own.saturating_add(subject)
    }
}

impl Weigh for Budget {
    fn weight(&self) -> usize {
        let scope = &self.scope;
        [
            texts([self.tenant.as_str(), self.id.as_str(), &self.zone, &self.description, &self.created_by]),
            texts(&scope.project)
                .saturating_add(texts(&scope.principal))
                .saturating_add(texts(&scope.upstream)),
            texts(scope.tools.iter().map(|glob| glob.as_str())),
            texts(scope.model.iter().chain(&scope.cost_center)),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

/// A meter, a number and a decimal text.
const LINE_BYTES: usize = 64;

impl Weigh for PriceEntry {
    fn weight(&self) -> usize {
        let subject = match &self.subject {
            PriceSubject::Model { provider, model } => texts([provider, model]),
            PriceSubject::Tool(tools) => texts([tools.as_str()]),
        };
        let lines = self.lines.len().saturating_add(self.free.len()).saturating_mul(LINE_BYTES);
        texts([self.tenant.as_str(), self.id.as_str()]).saturating_add(subject).saturating_add(lines)
    }
}

impl Weigh for Metering {
    fn weight(&self) -> usize {
        let usage = self.usage.iter().fold(0, |sum: usize, (_, source)| {
            let pointers = match source {
                UsageSource::Counted => 0,
                UsageSource::Pointer(pointer) => texts([pointer]),
                UsageSource::Difference { of, minus } => texts([of]).saturating_add(texts(minus)),
            };
            sum.saturating_add(pointers).saturating_add(LINE_BYTES)
        });
        let own = [self.tenant.as_str(), self.id.as_str(), self.tools.as_str(), &self.provider, &self.model];
        [
            texts(own),
            texts(self.model_pointer.iter().chain(&self.total_pointer)),
            usage,
            self.bounds.iter().count().saturating_mul(LINE_BYTES),
            texts(self.tags.iter().flat_map(|(key, value)| [key, value])),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

impl Weigh for Discount {
    fn weight(&self) -> usize {
        let terms = match &self.kind {
            DiscountKind::Cache(_) | DiscountKind::Commitment(_) => 1,
            DiscountKind::Volume(terms) => terms.tiers.len(),
        };
        texts([self.tenant.as_str(), self.id.as_str()]).saturating_add(terms.saturating_mul(LINE_BYTES))
    }
}

impl Weigh for Webhook {
    fn weight(&self) -> usize {
        texts([self.tenant.as_str(), self.id.as_str(), &self.url, &self.description, &self.created_by])
    }
}

impl<T: Weigh> Weigh for std::sync::Arc<T> {
    fn weight(&self) -> usize {
        (**self).weight()
    }
}
