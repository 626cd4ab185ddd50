//! Accounts, what is held, charged, asked for and returned on them, and the rows they are kept in.

use only1mcp_domain::activity::{Hold, Return};
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::ledger::{Account, AccountKey, Ask, AskPart, Charge, Lent, Waiter};
use only1mcp_domain::limits;
use only1mcp_domain::row::RowValue;
use only1mcp_domain::time::TimestampMs;

use super::error::DecodeError;
use super::parts::{Decoded, Raw as _, Text as _, money, parsed, raw, record, text, write_money};
use crate::log;

impl From<&AccountKey> for log::AccountKey {
    fn from(key: &AccountKey) -> Self {
        Self {
            tenant: key.tenant.written(),
            limit: key.limit.to_string(),
            subject: key.subject.to_string(),
            start_ms: key.start.0,
        }
    }
}

impl TryFrom<log::AccountKey> for AccountKey {
    type Error = DecodeError;

    fn try_from(wire: log::AccountKey) -> Result<Self, DecodeError> {
        // A zero byte ends a text in a row's key.
        if wire.subject.contains('\0') {
            return Err(DecodeError::invalid("AccountKey.subject", "holds a zero byte"));
        }
        if wire.subject.len() > limits::SUBJECT_BYTES_MAX {
            return Err(DecodeError::invalid("AccountKey.subject", "is longer than any subject"));
        }
        Ok(Self {
            tenant: text("AccountKey.tenant", &wire.tenant)?,
            limit: parsed("AccountKey.limit", &wire.limit)?,
            subject: wire.subject.into(),
            start: TimestampMs(wire.start_ms),
        })
    }
}

impl From<&Hold> for log::Hold {
    fn from(hold: &Hold) -> Self {
        Self { account: Some((&hold.account).into()), end_ms: hold.end.0, amount: write_money(hold.amount) }
    }
}

impl TryFrom<log::Hold> for Hold {
    type Error = DecodeError;

    fn try_from(wire: log::Hold) -> Result<Self, DecodeError> {
        Ok(Self {
            account: record("Hold.account", wire.account)?,
            end: TimestampMs(wire.end_ms),
            amount: money("Hold.amount", &wire.amount)?,
        })
    }
}

impl From<&Charge> for log::Charge {
    fn from(charge: &Charge) -> Self {
        Self {
            account: Some((&charge.account).into()),
            end_ms: charge.end.0,
            amount: write_money(charge.amount),
            held: charge.held,
        }
    }
}

impl TryFrom<log::Charge> for Charge {
    type Error = DecodeError;

    fn try_from(wire: log::Charge) -> Result<Self, DecodeError> {
        Ok(Self {
            account: record("Charge.account", wire.account)?,
            end: TimestampMs(wire.end_ms),
            amount: money("Charge.amount", &wire.amount)?,
            held: wire.held,
        })
    }
}

impl From<&Ask> for log::Ask {
    fn from(ask: &Ask) -> Self {
        let part = |part: &AskPart| log::AskPart {
            account: Some((&part.account).into()),
            end_ms: part.end.0,
            need: write_money(part.need),
            want: write_money(part.want),
        };
        Self {
            call: ask.call.written(),
            direct: ask.direct,
            until_ms: ask.until.0,
            parts: ask.parts.iter().map(part).collect(),
        }
    }
}

impl TryFrom<log::Ask> for Ask {
    type Error = DecodeError;

    fn try_from(wire: log::Ask) -> Result<Self, DecodeError> {
        let part = |part: log::AskPart| {
            Ok(AskPart {
                account: record("AskPart.account", part.account)?,
                end: TimestampMs(part.end_ms),
                need: money("AskPart.need", &part.need)?,
                want: money("AskPart.want", &part.want)?,
            })
        };
        Ok(Self {
            call: raw("Ask.call", &wire.call)?,
            direct: wire.direct,
            until: TimestampMs(wire.until_ms),
            parts: wire.parts.into_iter().map(part).collect::<Decoded<_>>()?,
        })
    }
}

pub(super) fn write_returned(parts: &[Return]) -> log::Returned {
    let part = |part: &Return| log::ReturnedPart {
        account: Some((&part.account).into()),
        amount: write_money(part.amount),
    };
    log::Returned { parts: parts.iter().map(part).collect() }
}

pub(super) fn read_returned(wire: log::Returned) -> Decoded<Vec<Return>> {
    let part = |part: log::ReturnedPart| {
        Ok(Return {
            account: record("ReturnedPart.account", part.account)?,
            amount: money("ReturnedPart.amount", &part.amount)?,
        })
    };
    wire.parts.into_iter().map(part).collect()
}

pub(super) fn write_account(key: &AccountKey, account: &Account) -> log::AccountRow {
    let lent = |(node, lent): &(NodeId, Lent)| log::Lent {
        node: node.0,
        outstanding: write_money(lent.outstanding),
        forfeited: write_money(lent.forfeited),
    };
    log::AccountRow {
        key: Some(key.into()),
        end_ms: account.end.0,
        posted: write_money(account.posted),
        overrun: write_money(account.overrun),
        ceiling: write_money(account.ceiling),
        level: account.level.into(),
        lent: account.lent.iter().map(lent).collect(),
    }
}

pub(super) fn read_account(wire: log::AccountRow) -> Decoded<RowValue> {
    let lent = |wire: log::Lent| {
        let outstanding = money("Lent.outstanding", &wire.outstanding)?;
        let forfeited = money("Lent.forfeited", &wire.forfeited)?;
        Ok((NodeId(wire.node), Lent { outstanding, forfeited }))
    };
    // Looked up by halves: out of order, a node would find nothing of its own and be lent the same again.
    if !wire.lent.is_sorted_by(|one, next| one.node < next.node) {
        return Err(DecodeError::invalid(
            "AccountRow.lent",
            "does not name each node once, in ascending order",
        ));
    }
    let level = |_| DecodeError::invalid("AccountRow.level", "is no percentage");
    let account = Account {
        end: TimestampMs(wire.end_ms),
        posted: money("AccountRow.posted", &wire.posted)?,
        overrun: money("AccountRow.overrun", &wire.overrun)?,
        ceiling: money("AccountRow.ceiling", &wire.ceiling)?,
        level: u8::try_from(wire.level).map_err(level)?,
        lent: wire.lent.into_iter().map(lent).collect::<Decoded<_>>()?,
    };
    Ok(RowValue::Account { key: record("AccountRow.key", wire.key)?, account })
}

pub(super) fn write_waiter((log_index, ordinal): (u64, u32), waiter: &Waiter) -> log::WaiterRow {
    let part = |(account, amount): &(AccountKey, i128)| log::WaiterPart {
        account: Some(account.into()),
        amount: write_money(*amount),
    };
    log::WaiterRow {
        log_index,
        ordinal,
        node: waiter.node.0,
        call: waiter.call.written(),
        until_ms: waiter.until.0,
        parts: waiter.parts.iter().map(part).collect(),
    }
}

pub(super) fn read_waiter(wire: log::WaiterRow) -> Decoded<RowValue> {
    let part = |part: log::WaiterPart| {
        Ok((record("WaiterPart.account", part.account)?, money("WaiterPart.amount", &part.amount)?))
    };
    let waiter = Waiter {
        node: NodeId(wire.node),
        call: raw("WaiterRow.call", &wire.call)?,
        until: TimestampMs(wire.until_ms),
        parts: wire.parts.into_iter().map(part).collect::<Decoded<_>>()?,
    };
    Ok(RowValue::Waiter { place: (wire.log_index, wire.ordinal), waiter })
}
