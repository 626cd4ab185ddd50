//! Lists in pages, all of one list from one state: a page token names the log index the first page was read at, and
//! a bounded number of such states is kept (a clone of the state costs a few pointers).

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use imbl::OrdMap;
use only1mcp_domain::limits;
use only1mcp_domain::secret;
use only1mcp_domain::state::State;
use sha3::{Digest as _, Sha3_256};

use crate::call::Call;
use crate::error::AdminError;
use crate::hex;
use crate::ports::View;

/// Rows of a page whose size the caller leaves open.
const PAGE_ROWS_DEFAULT: usize = 100;
/// States kept for lists that are not read to their end.
const PINS_MAX: usize = 64;
const MAC_CHARS: usize = 32;
const FILTER_BYTES: usize = 16;

/// States by applied index, the most recently pinned last.
pub(crate) struct Pins {
    kept: Mutex<VecDeque<Arc<State>>>,
}

impl Pins {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::new(VecDeque::new()) }
    }

    pub(crate) fn keep(&self, state: &Arc<State>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| other.last_applied != state.last_applied);
        kept.push_back(state.clone());
        while kept.len() > PINS_MAX {
            kept.pop_front();
        }
    }

    pub(crate) fn find(&self, log_index: u64) -> Option<Arc<State>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|state| state.last_applied == log_index).cloned()
    }
}

/// Which list, for whom, by which filters: a token of one fits no other.
pub(crate) fn filter_digest(call: &Call, parts: &[&str]) -> [u8; FILTER_BYTES] {
    let mut hasher = Sha3_256::new();
    for part in [call.method, call.identity.tenant.as_str()].iter().chain(parts) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let (head, _) = digest.split_at(FILTER_BYTES);
    head.try_into().unwrap_or_default()
}

/// Where a list goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cursor {
    /// Log index of the state that the whole list is read from.
    pub(crate) log_index: u64,
    /// Last key given, as text.
    pub(crate) after: String,
}

impl Cursor {
    /// The token's text, authenticated under the cluster's key so that any node takes it and no caller can make one.
    pub(crate) fn seal(&self, view: &View, filter: [u8; FILTER_BYTES]) -> Option<String> {
        let mut bytes = self.log_index.to_be_bytes().to_vec();
        bytes.extend_from_slice(&filter);
        bytes.extend_from_slice(self.after.as_bytes());
        let body = hex::encode(&bytes);
        let mac = mac(view, &body)?;
        Some(format!("{body}{mac}"))
    }

    /// Errors: `PageTokenInvalid`.
    pub(crate) fn open(token: &str, view: &View, filter: [u8; FILTER_BYTES]) -> Result<Self, AdminError> {
        Self::parse(token, view, filter).ok_or(AdminError::PageTokenInvalid)
    }

    fn parse(token: &str, view: &View, filter: [u8; FILTER_BYTES]) -> Option<Self> {
        let (body, given) = token.split_at_checked(token.len().checked_sub(MAC_CHARS)?)?;
        let expected = mac(view, body)?;
        if !bool::from(subtle::ConstantTimeEq::ct_eq(expected.as_bytes(), given.as_bytes())) {
            return None;
        }
        let bytes = hex::decode(body)?;
        let (log_index, rest) = bytes.split_first_chunk::<8>()?;
        let (found, after) = rest.split_first_chunk::<FILTER_BYTES>()?;
        let after = String::from_utf8(after.to_vec()).ok()?;
        (*found == filter).then(|| Self { log_index: u64::from_be_bytes(*log_index), after })
    }
}

/// The prefix keeps tokens apart from the keys hashed under the same key: no secret's text holds a colon.
fn mac(view: &View, body: &str) -> Option<String> {
    let cluster = view.state.cluster.as_ref()?;
    let mac = secret::mac(&cluster.key_hash_key, &format!("page:{body}"));
    Some(hex::encode(&mac.0).get(..MAC_CHARS)?.to_owned())
}

/// Errors: more rows asked for than a page may have.
pub(crate) fn page_size(asked: u32) -> Result<usize, AdminError> {
    match usize::try_from(asked).unwrap_or(usize::MAX) {
        0 => Ok(PAGE_ROWS_DEFAULT),
        size if size <= limits::PAGE_ROWS_MAX => Ok(size),
        _ => Err(AdminError::invalid("page_size", format!("at most {}", limits::PAGE_ROWS_MAX))),
    }
}

/// One list as it was asked for: the state it is read from, and where to go on.
pub(crate) struct Listing {
    pub(crate) view: View,
    pub(crate) after: Option<String>,
    size: usize,
    filter: [u8; FILTER_BYTES],
}

impl Listing {
    /// `view` is the authorized one; the list itself may be read from an older state that its first page pinned.
    pub(crate) fn start(
        pins: &Pins,
        call: &Call,
        view: View,
        page_size_asked: u32,
        token: &str,
        filters: &[&str],
    ) -> Result<Self, AdminError> {
        let size = page_size(page_size_asked)?;
        let filter = filter_digest(call, filters);
        if token.is_empty() {
            return Ok(Self { view, after: None, size, filter });
        }
        let cursor = Cursor::open(token, &view, filter)?;
        let state = if view.state.last_applied == cursor.log_index {
            view.state.clone()
        } else {
            pins.find(cursor.log_index).ok_or(AdminError::PageTokenStale)?
        };
        Ok(Self { view: View { state, ..view }, after: Some(cursor.after), size, filter })
    }

    /// The rows of this page and the token of the next. `least` is not above any key of the list; `within` holds for
    /// a run of keys from there on.
    pub(crate) fn take<'m, K: Ord + Clone, V: Clone>(
        &self,
        pins: &Pins,
        map: &'m OrdMap<K, V>,
        start: Bound<K>,
        within: impl Fn(&K) -> bool,
        keep: impl Fn(&V) -> bool,
        text: impl Fn(&K) -> String,
    ) -> (Vec<&'m V>, String) {
        let (rows, token) = self.take_entries(pins, map, start, within, |_, value| keep(value), text);
        (rows.into_iter().map(|(_, value)| value).collect(), token)
    }

    /// As [`Listing::take`], for records that do not name themselves. Where few are kept a page ends before it is full.
    pub(crate) fn take_entries<'m, K: Ord + Clone, V: Clone>(
        &self,
        pins: &Pins,
        map: &'m OrdMap<K, V>,
        start: Bound<K>,
        within: impl Fn(&K) -> bool,
        keep: impl Fn(&K, &V) -> bool,
        text: impl Fn(&K) -> String,
    ) -> (Vec<(&'m K, &'m V)>, String) {
        let range = map.range((start, Bound::Unbounded)).take_while(|(key, _)| within(key));
        let mut rows = Vec::new();
        let mut last = None;
        for (looked_at, (key, value)) in range.enumerate() {
            let kept = keep(key, value);
            if looked_at == limits::PAGE_LOOKED_AT_MAX || (kept && rows.len() == self.size) {
                let token = last.map(|key| self.token(pins, text(key))).unwrap_or_default();
                return (rows, token);
            }
            if kept {
                rows.push((key, value));
            }
            last = Some(key);
        }
        (rows, String::new())
    }

    fn token(&self, pins: &Pins, after: String) -> String {
        pins.keep(&self.view.state);
        let cursor = Cursor { log_index: self.view.state.last_applied, after };
        cursor.seal(&self.view, self.filter).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::decide::CompiledPolicy;
    use only1mcp_domain::time::TimestampMs;

    use super::*;

    #[test]
    fn page_looked_at_max() {
        let state = Arc::new(State::default());
        let policy = Arc::new(CompiledPolicy::build(&state));
        let view = View { state, policy, now: TimestampMs(0) };
        let list = Listing { view, after: None, size: 2, filter: [0; FILTER_BYTES] };
        let pins = Pins::new();
        // Whether the list has an end here is seen by the state it is to go on from.
        let page = |rows: usize, keep: fn(usize) -> bool| {
            let map: OrdMap<usize, usize> = (0..rows).map(|row| (row, row)).collect();
            let (rows, _) =
                list.take(&pins, &map, Bound::Unbounded, |_| true, |row| keep(*row), ToString::to_string);
            let ends_early = !pins.kept.lock().unwrap().is_empty();
            pins.kept.lock().unwrap().clear();
            (rows.into_iter().copied().collect::<Vec<_>>(), ends_early)
        };
        let most = limits::PAGE_LOOKED_AT_MAX;
        assert_eq!(page(most, |row| row + 1 == limits::PAGE_LOOKED_AT_MAX), (vec![most - 1], false));
        assert_eq!(
            page(most + 1, |row| row == limits::PAGE_LOOKED_AT_MAX),
            (vec![], true),
            "on the next page"
        );
        assert_eq!(page(5, |row| row > 2), (vec![3, 4], false));
        assert_eq!(page(6, |row| row > 2), (vec![3, 4], true));
    }
}
