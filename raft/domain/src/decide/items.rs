//! Items (tools, prompts, resources) by exposed name, and the upstreams behind them as one tenant sees them.

use crate::decide::index::Index;
use crate::decide::{CompiledPolicy, Reason};
use crate::ids::{TenantId, UpstreamId};
use crate::model::{Tenant, Upstream};
use crate::state::State;

/// Stands between an upstream's id, which cannot hold it, and the item's own name.
const SEPARATOR: &str = "__";

/// The upstream's id and the item's own name; `None` when `item` is not of the form `upstream__name`.
pub fn split_item(item: &str) -> Option<(&str, &str)> {
    // By bytes: a quarter of the time that the general search takes.
    let at = item.as_bytes().windows(SEPARATOR.len()).position(|pair| pair == SEPARATOR.as_bytes())?;
    item.get(..at).zip(item.get(at + SEPARATOR.len()..))
}

#[derive(Clone, Debug)]
struct CompiledUpstream {
    enabled: bool,
    disabled_tools: Index<String, ()>,
}

/// A tenant's own upstreams, and which of the shared ones it may see.
#[derive(Clone, Debug, Default)]
pub(super) struct Upstreams {
    own: Index<UpstreamId, CompiledUpstream>,
    /// `None`: all.
    shared: Option<Index<UpstreamId, ()>>,
}

impl Upstreams {
    pub(super) fn new<'s>(tenant: &Tenant, own: impl Iterator<Item = &'s Upstream>) -> Self {
        let compiled = |upstream: &Upstream| CompiledUpstream {
            enabled: upstream.enabled,
            disabled_tools: Index::new(upstream.disabled_tools.iter().map(|tool| (tool.clone(), ()))),
        };
        let shared = tenant.shared_upstreams.as_ref();
        Self {
            own: Index::new(own.map(|upstream| (upstream.id.clone(), compiled(upstream)))),
            shared: shared.map(|ids| Index::new(ids.iter().map(|id| (id.clone(), ())))),
        }
    }

    fn sees_shared(&self, id: &str) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.contains(id))
    }

    /// `shared`: the upstreams of `system`. The tenant's own wins over a shared one of the same id.
    pub(super) fn check(&self, shared: Option<&Self>, item: &str) -> Result<(), Reason> {
        let Some((id, name)) = split_item(item) else { return Ok(()) };
        let of_others = || shared.filter(|_| self.sees_shared(id)).and_then(|shared| shared.own.get(id));
        let upstream = self.own.get(id).or_else(of_others).ok_or(Reason::UpstreamUnknown)?;
        if !upstream.enabled {
            return Err(Reason::UpstreamDisabled);
        }
        if upstream.disabled_tools.contains(name) { Err(Reason::ToolDisabled) } else { Ok(()) }
    }
}

impl CompiledPolicy {
    /// Whether `item` can be reached from `tenant` at all, whoever asks: its upstream is there and enabled, and the
    /// item is not disabled. An item without an upstream's prefix passes.
    /// Errors: `TenantUnknown`, `UpstreamUnknown`, `UpstreamDisabled`, `ToolDisabled`.
    pub fn check_item(&self, tenant: &TenantId, item: &str) -> Result<(), Reason> {
        let upstreams = &self.tenant(tenant).ok_or(Reason::TenantUnknown)?.upstreams;
        upstreams.check(self.shared_upstreams(), item)
    }

    pub(super) fn shared_upstreams(&self) -> Option<&Upstreams> {
        self.system().map(|system| &system.upstreams)
    }
}

/// The upstream that `id` means in `tenant`: its own, or a shared one that it may see. Enabled or not.
pub fn upstream_in<'s>(state: &'s State, tenant: &TenantId, id: &UpstreamId) -> Option<&'s Upstream> {
    let of = |owner: &TenantId| state.upstreams.get(&(owner.clone(), id.clone())).map(|found| &found.value);
    let narrowed = &state.tenants.get(tenant)?.value.shared_upstreams;
    let visible = narrowed.as_ref().is_none_or(|ids| ids.contains(id));
    of(tenant).or_else(|| visible.then(|| of(&TenantId::system())).flatten())
}
