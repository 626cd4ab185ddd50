//! The end of a world: what the nodes hold, against what clients were promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use only1mcp_domain::State;
use only1mcp_domain::audit::{SealedEvent, decode};
use only1mcp_domain::ids::AuditIndex;

use super::World;
use crate::invariants::{
    Final, admin, calls, chain, charged_once, crossing, escrow, linearizable, refusals, sealed, spendable,
    steps, truth,
};
use crate::node::Site;
use crate::oracle::Life;
use crate::stage::{Stage, locked};

const EVENTS_STEP: usize = 1_000;

/// Checks the invariants of the product. All nodes must be up and at the same entry.
pub fn judge(world: &World) {
    let stage = &world.stage;
    let members: Vec<Arc<Site>> = world.members().cloned().collect();
    let end = match gather(&members) {
        Ok(end) => end,
        Err(why) => return stage.violated("the harness", why),
    };
    let living: BTreeSet<Life> =
        members.iter().filter_map(|site| site.live()).map(|live| live.life).collect();
    let mut oracle = locked(&stage.oracle);
    stage.check("P3 one chain", chain::check(&end));
    stage.check("P1 no overspend", escrow::check(&end));
    stage.check("P1 truth", truth::check(&end.events));
    stage.check("P1 charged once", charged_once::check(&end.events));
    stage.check("P1 crossing accounts", crossing::check(&end.events));
    stage.check("P1 spendable", spendable::check(end.states.values()));
    replay(stage, &end);
    stage.check("P2 sealed answers", sealed::check(&end, &oracle));
    stage.check("P3 each call once", calls::check(&end, &oracle));
    match refusals::check(&end, &oracle, &living) {
        Ok(lost) => oracle.refusals_lost = lost,
        Err(what) => stage.violated("P3 each refusal once", what),
    }
    stage.check("P8 linearizability", linearizable::check(&locked(&stage.registers)));
    stage.check("P8 administration", admin::check(&end, &oracle));
    let states: Vec<_> = members.iter().filter_map(|site| site.live()).collect();
    for live in states {
        let digest = live.handle.state_digest();
        let same = locked(&stage.watch).digests.seen(live.life.node, digest);
        stage.check("state machine safety", same);
    }
    stage.trace.line("--", format_args!("judged {} events", end.events.len()));
}

/// The log once more, entry by entry; what comes of it is what the nodes hold.
fn replay(stage: &Stage, end: &Final) {
    let last = end.states.values().map(|state| state.last_applied).max().unwrap_or(0);
    let entries = match locked(&stage.history).committed(last) {
        Ok(entries) => entries,
        Err(why) => return stage.violated("the harness", why),
    };
    let told = steps::walk(&entries);
    let same = |state: &Arc<State>| state.ledger == told.state.ledger && state.chain == told.state.chain;
    if !end.states.values().all(same) {
        stage.violated(
            "state machine safety",
            "the log replayed gives another ledger or chain than nodes hold",
        );
    }
    for (name, what) in &told.broken {
        stage.violated(name, what);
    }
    stage.trace.line("--", format_args!("replayed {} entries: {}", entries.len(), told.seen));
}

fn gather(sites: &[Arc<Site>]) -> Result<Final, String> {
    let mut chains = BTreeMap::new();
    let mut states = BTreeMap::new();
    for site in sites {
        let live = site.live().ok_or_else(|| format!("{} is down", site.name))?;
        let mut chain: Vec<SealedEvent> = Vec::new();
        loop {
            let from = chain.last().map_or(1, |event| event.index.0.saturating_add(1));
            let events = live.handle.audit_events(AuditIndex(from), EVENTS_STEP);
            let events = events.map_err(|error| format!("{}: {error}", site.name))?;
            if events.is_empty() {
                break;
            }
            chain.extend(events);
        }
        chains.insert(site.node, chain);
        states.insert(site.node, live.handle.state());
    }
    let longest = chains.values().max_by_key(|chain| chain.len()).cloned().unwrap_or_default();
    let events: Result<Vec<_>, _> = longest.iter().map(|event| decode(&event.bytes)).collect();
    Ok(Final { chains, events: events.map_err(|error| error.to_string())?, states })
}

pub fn summary(stage: &Stage) -> String {
    let oracle = locked(&stage.oracle);
    let watch = locked(&stage.watch);
    let (operations, unknown, [reads, leases, locals]) = locked(&stage.registers).counts();
    format!(
        "{} ms; {} crashes; calls: {} admitted, {} answered, {} refused ({} of them lost in crashes; \
         {} exceeded, {} unavailable); writes: {} done, \
         {} retried, {} read back; registers: {operations} operations, {unknown} of unknown end, reads: {reads} \
         linearizable, {leases} from a lease, {locals} local; {} digests compared",
        stage.time.ms(),
        oracle.crashes,
        oracle.calls.len(),
        oracle.answered_calls,
        oracle.refused.len(),
        oracle.refusals_lost,
        oracle.exceeded,
        oracle.unavailable,
        oracle.writes_done,
        oracle.writes_retried,
        oracle.reads_done,
        watch.digests.compared
    )
}

/// Faults by kind, and what nodes noticed.
pub fn faults(stage: &Stage) -> [String; 2] {
    let oracle = locked(&stage.oracle);
    [&oracle.faults, &oracle.noticed].map(|counts| {
        let told: Vec<String> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        told.join(", ")
    })
}
