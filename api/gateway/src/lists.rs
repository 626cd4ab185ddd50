//! Lists over all upstreams of a tenant: gathered at once, filtered by the evaluator that guards the calls.

use std::sync::Arc;

use futures_util::future::join_all;
use only1mcp_domain::model::Upstream;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::config::ms;
use crate::inner::Inner;
use crate::json::{RawObject, RpcError, code, raw, string};
use crate::ports::CallerInfo;
use crate::protocol::{Cursor, Item, ListKind, fetch};
use crate::session::Session;
use crate::upstream::UpstreamError;

const UNAVAILABLE: &str = "only1mcp/unavailable";

impl Inner {
    /// One page of a merged list, as a result. An upstream that fails hides only its own items, and is named.
    /// Errors: `INVALID_PARAMS` for a cursor that is not ours.
    pub(crate) async fn list(
        self: &Arc<Self>,
        caller: &CallerInfo,
        session: Option<&Arc<Session>>,
        kind: ListKind,
        params: &RawObject,
    ) -> Result<Box<RawValue>, RpcError> {
        let invalid = || RpcError::new(code::INVALID_PARAMS, "the cursor is not valid");
        let from = match params.get("cursor") {
            None => None,
            Some(_) => {
                let text = params.text("cursor").ok_or_else(invalid)?;
                Some(Cursor::parse(kind, &text).ok_or_else(invalid)?)
            }
        };
        let upstreams: Vec<Arc<Upstream>> = self
            .enforcement
            .upstreams(&caller.tenant)
            .into_iter()
            .filter(|upstream| from.as_ref().is_none_or(|from| upstream.id >= from.upstream))
            .collect();
        let fetched = join_all(upstreams.iter().map(|upstream| self.items(upstream, session, kind))).await;
        let (mut page, mut next, mut unavailable) = (Vec::new(), None, Vec::new());
        for (upstream, fetched) in upstreams.iter().zip(fetched) {
            let items = match fetched {
                Ok(items) => items,
                Err(error) => {
                    unavailable.push(json!({"upstream": upstream.id.as_str(), "error": error.to_string()}));
                    continue;
                }
            };
            let given =
                from.as_ref().filter(|from| from.upstream == upstream.id).map_or(0, |from| from.ordinal);
            for (ordinal, item) in (0u32..).zip(items.iter()).filter(|(ordinal, _)| *ordinal >= given) {
                if !self.enforcement.may_view(caller, &upstream.id, &item.own, &item.item).is_allow() {
                    continue;
                }
                if page.len() >= self.config.list_page_items_max {
                    next = Some(Cursor { upstream: upstream.id.clone(), ordinal });
                    break;
                }
                page.push(item.raw.clone());
            }
            if next.is_some() {
                break;
            }
        }
        let mut result = RawObject::default().with(kind.member(), raw(&page));
        if let Some(next) = next {
            result.set("nextCursor", string(&next.text(kind)));
        }
        if !unavailable.is_empty() {
            result.set("_meta", RawObject::default().with(UNAVAILABLE, raw(&unavailable)).to_raw());
        }
        Ok(result.to_raw())
    }

    /// What one upstream offers, within its share of time.
    async fn items(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        session: Option<&Arc<Session>>,
        kind: ListKind,
    ) -> Result<Arc<Vec<Item>>, UpstreamError> {
        let slot = self.slot(upstream, session).ok_or(UpstreamError::SessionLost)?;
        let fetched = timeout(ms(self.config.list_ms_max), async {
            let connection = self.connect(&slot, session).await?;
            match fetch(&connection, kind, &self.config).await {
                // It lost its session, not its items.
                Err(UpstreamError::SessionLost) => {
                    connection.close();
                    fetch(&*self.connect(&slot, session).await?, kind, &self.config).await
                }
                fetched => fetched,
            }
        });
        let fetched = fetched.await.unwrap_or(Err(UpstreamError::TimedOut));
        match &fetched {
            Ok(_) => slot.standing.succeeded(),
            Err(UpstreamError::BackingOff { .. }) => {}
            Err(error) => slot.standing.failed(error),
        }
        fetched
    }
}
