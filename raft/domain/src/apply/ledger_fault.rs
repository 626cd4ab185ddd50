//! An account whose numbers contradict each other: no input leads there, so a defect of this program did. Nothing is lent
//! from it any more ([`crate::ledger::Account::available`]), and the entry that broke it says so. INVARIANT: P1, P5

use crate::apply::activity_event::{account, by_node, detail};
use crate::apply::change::Change;
use crate::audit::{AuditEvent, EventKind, EventOutcome, Severity};
use crate::command::Via;
use crate::ids::NodeId;
use crate::ledger::{Account, AccountKey};
use crate::outcome::Effect;

/// `before`: as the entry found it.
pub(super) fn is_new(before: Option<&Account>, after: &Account) -> bool {
    !after.is_escrowed() && before.is_none_or(Account::is_escrowed)
}

pub(super) fn tell(change: &mut Change<'_>, key: &AccountKey, found: &Account) {
    let node = match change.actor().via {
        Via::Node(node) => node,
        _ => NodeId(0),
    };
    let event = AuditEvent {
        kind: EventKind::AnomalyDetected,
        severity: Severity::Critical,
        tenant: key.tenant.clone(),
        action: "ledger.broken".to_owned(),
        resource: account(key),
        outcome: EventOutcome::Failure,
        reason: "ledger_broken".to_owned(),
        details: vec![
            detail("posted", found.posted.to_string()),
            detail("outstanding", found.outstanding().to_string()),
            detail("ceiling", found.ceiling.to_string()),
            detail("overrun", found.overrun.to_string()),
        ],
        ..by_node(change, node, change.entry.observed_at)
    };
    change.seal(&event);
    change.effect(Effect::LedgerBroken { account: key.clone() });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::decode;
    use crate::command::{Actor, Command, Entry};
    use crate::ids::{Digest, PrincipalId, TenantId};
    use crate::ledger::{Lent, LimitId};
    use crate::state::State;
    use crate::time::TimestampMs;

    #[test]
    fn an_account_that_breaks_is_told_once_and_lends_nothing() {
        let mut state = State::default();
        let key = AccountKey {
            tenant: TenantId::new("acme").unwrap(),
            limit: LimitId::QuotaRequests,
            subject: "".into(),
            start: TimestampMs(0),
        };
        state.ledger.set_account(key.clone(), Account::new(TimestampMs(60_000)));
        let entry = Entry {
            actor: Actor {
                tenant: TenantId::system(),
                principal: PrincipalId::new("test").unwrap(),
                key: None,
                via: Via::Node(NodeId(1)),
                ip: None,
                user_agent: String::new(),
                personal: None,
                request_id: String::new(),
            },
            command_id: None,
            request_digest: Digest::default(),
            observed_at: TimestampMs(1),
            command: Command::Tick { node: NodeId(1) },
            signature: None,
        };
        let broken = |state: &mut State, outstanding: i128| {
            let mut change = Change::new(state, &entry, 7);
            let mut account = change.state.ledger.accounts[&key].clone();
            account.lent = vec![(NodeId(1), Lent { outstanding, forfeited: 0 })];
            change.state.ledger.set_account(key.clone(), account);
            change.touch(&key);
            change.finish(Ok(crate::outcome::Outcome::Done { log_index: 7 }))
        };
        let applied = broken(&mut state, 5);
        let told: Vec<String> =
            applied.audit.iter().map(|sealed| decode(&sealed.bytes).unwrap().action).collect();
        assert_eq!(told, ["ledger.broken"]);
        assert_eq!(applied.effects, [Effect::LedgerBroken { account: key.clone() }]);
        let applied = broken(&mut state, 6);
        assert!(applied.audit.is_empty() && applied.effects.is_empty(), "it was told when it broke");
        assert_eq!(state.ledger.accounts[&key].available(1_000), 0);
    }
}
