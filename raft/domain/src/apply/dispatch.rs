//! One entry from log to outcome: log time, repetition, authority, the command itself, its audit event, memory.

use crate::apply::audit::{self, Report};
use crate::apply::change::Change;
use crate::apply::holdings::has_administrator;
use crate::apply::{
    activity, authority, budget, cluster, cost, duty, epoch, grant, key, ledger, member, memory, price,
    principal, retention, role, rule, session, storage, subject, tenant, upstream, webhook,
};
use crate::command::{Command, Entry};
use crate::ids::TenantId;
use crate::outcome::{Applied, Outcome, Rejection};
use crate::state::State;

impl State {
    /// Applies the entry at `log_index`. Total: every input gives a value; nothing here reads a clock, draws a random
    /// number or iterates an unordered map. A rejection changes nothing but the chain, log time and what is remembered
    /// of the command.
    pub fn apply(&mut self, log_index: u64, entry: &Entry) -> Applied {
        let mut change = Change::new(self, entry, log_index);
        change.tell_time();
        let outcome = answer(&mut change);
        ledger::serve(&mut change);
        memory::forget(&mut change);
        ledger::forget(&mut change);
        change.finish(outcome)
    }
}

/// INVARIANT: P8
fn answer(change: &mut Change<'_>) -> Result<Outcome, Rejection> {
    let id = memory::remembers(change.entry);
    if let Some(known) = id.and_then(|id| memory::recall(change, id)) {
        if let Err(conflict @ Rejection::CommandIdConflict {}) = &known {
            audit::record(change, Err(conflict));
        }
        return known;
    }
    let result = run_or_take_back(change);
    audit::record(change, result.as_ref());
    let outcome =
        result.map(|report| report.outcome.unwrap_or(Outcome::Done { log_index: change.log_index }));
    if let Some(id) = id {
        memory::remember(change, id, &outcome);
    }
    outcome
}

fn run_or_take_back(change: &mut Change<'_>) -> Result<Report, Rejection> {
    let command = &change.entry.command;
    if change.state.cluster.is_none() && !matches!(command, Command::FormCluster(_)) {
        return Err(Rejection::NotFormed {});
    }
    authority::check(change.state, command, change.actor())?;
    if let Command::Activity(batch) = command {
        // Seals events as it goes; it checks all before it changes anything.
        return activity::post(change, batch);
    }
    let guarded = may_unseat_administrators(command) && has_administrator(change.state);
    let mark = change.mark();
    let tenant = audit::tenant_of(command);
    let stored = change.state.storage_bytes(&tenant);
    let result = run(change, command).and_then(|report| {
        storage::within_quota(change, &tenant, stored)?;
        let unseated = guarded && !has_administrator(change.state);
        if unseated { Err(Rejection::LastAdministrator {}) } else { Ok(report) }
    });
    if result.is_err() {
        change.take_back(mark);
    }
    result
}

fn run(change: &mut Change<'_>, command: &Command) -> Result<Report, Rejection> {
    match command {
        Command::FormCluster(form) => cluster::form(change, form),
        Command::SetSettings { settings, if_revision } => {
            cluster::set_settings(change, settings, *if_revision)
        }
        Command::CreateJoinToken(token) => cluster::create_join_token(change, token),
        Command::BeginEpoch(begin) => epoch::begin(change, begin),
        Command::NoteBackup(note) => epoch::note_backup(change, note),
        Command::RegisterNode(node) => member::register(change, node),
        Command::SetNodeRole { node, role } => member::set_role(change, *node, *role),
        Command::RemoveNode { node, lose_journal } => member::remove(change, *node, *lose_journal),
        Command::UpdateNode { node, .. } => member::update(change, *node, command),
        Command::SetSigningKey { node, key } => member::set_signing_key(change, *node, *key),
        Command::Tick { .. } => Ok(Report::silent()),
        Command::OpenIncarnation { node } => activity::open(change, *node),
        Command::Activity(batch) => activity::post(change, batch),
        Command::SealJournal { node } => activity::seal_journal(change, *node),
        Command::CreateTenant(tenant) => tenant::create(change, tenant),
        Command::UpdateTenant { tenant, if_revision } => tenant::update(change, tenant, *if_revision),
        Command::SetTenantStatus { tenant, status, if_revision } => {
            tenant::set_status(change, tenant, *status, *if_revision)
        }
        Command::CreatePrincipal(principal) => principal::create(change, principal),
        Command::UpdatePrincipal { principal, if_revision } => {
            principal::update(change, principal, *if_revision)
        }
        Command::DeletePrincipal { tenant, principal, if_revision } => {
            principal::delete(change, tenant, principal, *if_revision)
        }
        Command::CreateApiKey(key) => key::create(change, key),
        Command::RotateApiKey { old, new, overlap_until } => key::rotate(change, old, new, *overlap_until),
        Command::RevokeApiKey { tenant, key } => key::revoke(change, tenant, key),
        Command::RecoverAdmin { key } => key::recover_admin(change, key),
        Command::PutRole { role, if_revision } => role::put(change, role, *if_revision),
        Command::DeleteRole { tenant, role, if_revision } => role::delete(change, tenant, role, *if_revision),
        Command::CreateGrant(grant) => grant::create(change, grant),
        Command::RevokeGrant { tenant, grant } => grant::revoke(change, tenant, grant),
        Command::PutRestriction { rule, if_revision } => rule::put_restriction(change, rule, *if_revision),
        Command::DeleteRestriction { tenant, rule } => rule::delete_restriction(change, tenant, rule),
        Command::PutDeny { rule, if_revision } => rule::put_deny(change, rule, *if_revision),
        Command::DeleteDeny { tenant, rule } => rule::delete_deny(change, tenant, rule),
        Command::PutBudget { budget, if_revision } => budget::put(change, budget, *if_revision),
        Command::DeleteBudget { tenant, budget } => budget::delete(change, tenant, budget),
        Command::ForceClose { node, account } => budget::force_close(change, *node, account.as_ref()),
        Command::PutPrice { price, if_revision } => price::put(change, price, *if_revision),
        Command::DeletePrice { tenant, price } => price::delete(change, tenant, price),
        Command::PutMetering { metering, if_revision } => price::put_metering(change, metering, *if_revision),
        Command::DeleteMetering { tenant, metering } => price::delete_metering(change, tenant, metering),
        Command::PutDiscount { discount, if_revision } => price::put_discount(change, discount, *if_revision),
        Command::DeleteDiscount { tenant, discount } => price::delete_discount(change, tenant, discount),
        Command::PutExchangeRate(rate) => price::put_rate(change, rate),
        Command::DeleteExchangeRate { currency, valid_from } => {
            price::delete_rate(change, *currency, *valid_from)
        }
        Command::CorrectCost(correction) => cost::correct(change, correction),
        Command::PutUpstream { upstream, if_revision } => upstream::put(change, upstream, *if_revision),
        Command::DeleteUpstream { tenant, upstream } => upstream::delete(change, tenant, upstream),
        Command::SetUpstreamEnabled { tenant, upstream, enabled } => {
            upstream::set_enabled(change, tenant, upstream, *enabled)
        }
        Command::SetToolEnabled { tenant, upstream, tool, enabled } => {
            upstream::set_tool_enabled(change, tenant, upstream, tool, *enabled)
        }
        Command::PutWebhook { webhook, keep_key, if_revision } => {
            webhook::put(change, webhook, *keep_key, *if_revision)
        }
        Command::DeleteWebhook { tenant, webhook } => webhook::delete(change, tenant, webhook),
        Command::AssignDuty { duty, node, after } => duty::assign(change, duty, *node, *after),
        Command::AdvanceDuty(progress) => duty::advance(change, progress),
        Command::AddSubjectKeys(keys) => subject::add_keys(change, keys),
        Command::OfferGeneration(offer) => subject::offer(change, *offer),
        Command::BeginGeneration { generation } => subject::begin(change, *generation),
        Command::TellGenerations { node, held } => subject::tell(change, *node, *held),
        Command::RewrapSubjects(keys) => subject::rewrap(change, keys),
        Command::EraseSubject { tenant, principal } => subject::erase(change, tenant, principal),
        Command::HoldSubject { tenant, principal, hold } => subject::hold(change, tenant, principal, hold),
        Command::WantGeneration => subject::want(change),
        Command::AdoptKeys(adopt) => subject::adopt(change, adopt),
        Command::SetRetention { days, if_revision } => retention::set(change, *days, *if_revision),
        Command::RunRetention => retention::run(change),
        Command::DropPayloads { fence, drop } => retention::drop_payloads(change, *fence, drop),
        Command::CloseMcpSession { session, expires_at, .. } => session::close(change, *session, *expires_at),
    }
}

/// Commands that can take from `system` what its administrators hold.
fn may_unseat_administrators(command: &Command) -> bool {
    let tenant: &TenantId = match command {
        Command::UpdatePrincipal { principal, .. } => &principal.tenant,
        Command::PutRole { role, .. } => &role.tenant,
        Command::DeletePrincipal { tenant, .. }
        | Command::EraseSubject { tenant, .. }
        | Command::DeleteRole { tenant, .. }
        | Command::RevokeGrant { tenant, .. } => tenant,
        _ => return false,
    };
    tenant.is_system()
}
