//! The invariants that are judged entry by entry, together.

use only1mcp_domain::State;
use only1mcp_domain::command::Entry;

use super::{conservation, fencing, lending, local, log_time, periods, standing, stranding};
use crate::history::{Step, replay};

/// What a replay of the log told.
pub struct Told {
    pub state: State,
    /// Invariants that broke, each at its first entry.
    pub broken: Vec<(&'static str, String)>,
    pub seen: Seen,
}

/// How much of the ledger's ways the world went.
#[derive(Debug, Default)]
pub struct Seen {
    pub lent: u64,
    pub waited: u64,
    pub returned: u64,
    pub forfeited: u64,
    pub lowered_below_what_was_taken: u64,
    pub periods: u64,
}

pub fn walk(entries: &[(u64, Entry)]) -> Told {
    let mut broken: Vec<(&'static str, String)> = Vec::new();
    let (mut local, mut fencing, mut periods) =
        (local::Local::default(), fencing::Fencing::default(), periods::Periods::default());
    let mut log_time = log_time::LogTime::default();
    let mut seen = Seen::default();
    let state = replay(entries, |step| {
        seen.see(step);
        let checks = [
            ("P1 escrow and lending", lending::check(step)),
            ("P1 conservation", conservation::check(step)),
            ("P1 stranding", stranding::check(step)),
            ("P1 local", local.check(step)),
            ("P3 fencing", fencing.check(step)),
            ("P1 periods", periods.check(step)),
            ("log time", log_time.check(step)),
            ("P4 revoked in flight", standing::check(step)),
        ];
        for (name, result) in checks {
            if let Err(what) = result
                && broken.iter().all(|(known, _)| *known != name)
            {
                broken.push((name, format!("entry {}: {what}", step.index)));
            }
        }
    });
    Told { state, broken, seen }
}

impl Seen {
    fn see(&mut self, step: &Step<'_>) {
        let more = |count: &mut u64, by: usize| *count = count.saturating_add(u64::try_from(by).unwrap_or(0));
        let (before, after) = (&step.before.ledger, &step.after.ledger);
        more(&mut self.periods, after.accounts.len().saturating_sub(before.accounts.len()));
        more(
            &mut self.waited,
            after.waiters.keys().filter(|place| !before.waiters.contains_key(*place)).count(),
        );
        for (key, before, after) in step.changed() {
            more(&mut self.lent, usize::from(after.outstanding() > before.outstanding()));
            let (charged, returned) = step.charged_and_returned(key);
            more(&mut self.returned, usize::from(returned > 0));
            let rest = after.posted.saturating_sub(before.posted).saturating_sub(charged);
            more(&mut self.forfeited, usize::from(rest > 0));
        }
        if let only1mcp_domain::command::Command::PutBudget { budget, .. } = &step.entry.command {
            let own = after.accounts.iter().filter(|(key, account)| {
                key.tenant == budget.tenant
                    && key.limit == only1mcp_domain::ledger::LimitId::Budget(budget.id.clone())
                    && account.taken() > budget.amount
            });
            more(&mut self.lowered_below_what_was_taken, own.count());
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "accounts {}, lent {}, waited {}, returned {}, forfeited {}, lowered below what was taken {}",
            self.periods,
            self.lent,
            self.waited,
            self.returned,
            self.forfeited,
            self.lowered_below_what_was_taken
        )
    }
}
