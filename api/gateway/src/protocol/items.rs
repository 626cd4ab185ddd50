//! Items of one upstream, taken page by page and renamed for clients.

use std::collections::BTreeSet;
use std::sync::Arc;

use only1mcp_domain::ids::UpstreamId;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::config::Config;
use crate::json::{RawObject, string};
use crate::protocol::{expose_name, expose_uri};
use crate::upstream::{Connection, UpstreamError};

/// Pages taken from one upstream for one list.
const PAGES_MAX: usize = 200;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum ListKind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl ListKind {
    pub(crate) const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    pub(crate) fn of_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == method)
    }

    /// The result's member that holds the items.
    pub(crate) fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// Kinds of lists that `notification` says have changed.
    pub(crate) fn changed_by(notification: &str) -> &'static [Self] {
        match notification {
            "notifications/tools/list_changed" => &[Self::Tools],
            "notifications/prompts/list_changed" => &[Self::Prompts],
            "notifications/resources/list_changed" => &[Self::Resources, Self::Templates],
            _ => &[],
        }
    }

    /// The member that names an item in policy: for resources it is their URI.
    fn own_member(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }
}

/// One tool, prompt, resource or template, as it goes out.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Its own name (or URI) at its upstream.
    pub(crate) own: String,
    /// The name that policy knows: `upstream__own`.
    pub(crate) item: String,
    pub(crate) raw: Box<RawValue>,
}

impl Item {
    fn expose(kind: ListKind, upstream: &UpstreamId, mut object: RawObject) -> Option<Self> {
        let own = object.text(kind.own_member())?;
        if let Some(name) = object.text("name") {
            object.set("name", string(&expose_name(upstream, &name)));
        }
        if matches!(kind, ListKind::Resources | ListKind::Templates) {
            object.set(kind.own_member(), string(&expose_uri(upstream, &own)));
        }
        Some(Self { item: expose_name(upstream, &own), own, raw: object.to_raw() })
    }
}

/// All items of one kind, from the connection's cache or from the upstream.
/// Errors: the upstream's; a list that never ends or repeats a cursor is broken.
pub(crate) async fn fetch(
    connection: &Connection,
    kind: ListKind,
    config: &Config,
) -> Result<Arc<Vec<Item>>, UpstreamError> {
    if !connection.offers(kind) {
        return Ok(Arc::default());
    }
    if let Some(items) = connection.cached(kind, config) {
        return Ok(items);
    }
    let asked_at = Instant::now();
    let (mut items, mut cursor, mut seen) = (Vec::new(), None::<String>, BTreeSet::new());
    let endless = UpstreamError::Protocol { why: "its list does not end" };
    loop {
        let params = RawObject::default();
        let params = match &cursor {
            Some(cursor) => params.with("cursor", string(cursor)),
            None => params,
        };
        let page = match connection.ask(kind.method(), params.to_raw()).await {
            // Offers resources but not templates: as good as none.
            Err(UpstreamError::Refused { code: -32601, .. }) => break,
            page => page?,
        };
        let broken = || UpstreamError::Protocol { why: "a list holds something that is no item" };
        for element in page.array(kind.member()).ok_or_else(broken)? {
            let object = RawObject::of(&element).ok_or_else(broken)?;
            items.push(Item::expose(kind, &connection.upstream.id, object).ok_or_else(broken)?);
        }
        if items.len() > config.list_items_max {
            return Err(UpstreamError::Protocol { why: "its list is too long" });
        }
        cursor = page.text("nextCursor");
        match &cursor {
            None => break,
            Some(next) if seen.len() < PAGES_MAX && seen.insert(next.clone()) => {}
            Some(_) => return Err(endless),
        }
    }
    let items = Arc::new(items);
    connection.keep(kind, asked_at, items.clone());
    Ok(items)
}
