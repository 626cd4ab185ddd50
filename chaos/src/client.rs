//! Simulated clients, on hosts of their own: callers that make one call after the other on any node, and an
//! administrator that writes, retries what it is not sure of under the same command id, and reads what it wrote.

use std::sync::Arc;
use std::time::Duration;

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{GrantId, NodeId, TenantId};
use only1mcp_domain::model::{Budget, PeriodKind, TenantStatus};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::sleep;
use turmoil::net::TcpStream;

use crate::linear::Level;
use crate::node::{Answer, Ask, FRONT_PORT};
use crate::oracle::Granted;
use crate::registrar::STALENESS_MS_MAX;
use crate::rng::Rng;
use crate::scene;
use crate::stage::{Stage, locked};

/// Of the numbers that draw what the administrator does, one for a grant and one for a revoke.
pub const GRANTS: u64 = 0;
pub const REVOKES: u64 = 5;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One question to one node. `None`: no answer came.
pub(crate) async fn ask(node: u64, ask: &Ask) -> Option<Answer> {
    let talk = async {
        let stream = TcpStream::connect(format!("n{node}:{FRONT_PORT}")).await.ok()?;
        let (read, mut write) = stream.into_split();
        write.write_all(format!("{ask}\n").as_bytes()).await.ok()?;
        let mut line = String::new();
        BufReader::new(read).read_line(&mut line).await.ok()?;
        Answer::parse(&line)
    };
    tokio::time::timeout(ANSWER_WITHIN, talk).await.ok()?
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    Call,
    /// Calls of the tight tenant, and at the end all that is left of its budget.
    Spend,
    Administrate,
    /// Calls as a guest that may not, on a node that may not know it yet; and calls and reads there as who may.
    Intrude,
    /// Reads and writes registers, and records what came of it.
    Register,
    /// Removes one node for good and lets another in.
    Replace {
        gone: u64,
        new: u64,
    },
    /// Lets a learner in, and may promote or remove it.
    Change(u64),
    /// Hands leadership over now and then.
    Transfer,
}

/// A client and the randomness it acts on.
pub struct Client {
    pub name: String,
    pub stage: Arc<Stage>,
    pub rng: Rng,
}

impl Client {
    pub(crate) fn is_over(&self) -> bool {
        locked(&self.stage.oracle).clients_stop
    }

    pub(crate) fn node(&mut self) -> u64 {
        let members = locked(&self.stage.oracle).members.clone();
        self.rng.pick(&members).copied().unwrap_or(1)
    }

    fn served(&self) {
        let mut oracle = locked(&self.stage.oracle);
        oracle.answered_calls = oracle.answered_calls.saturating_add(1);
        if oracle.faults_over {
            let served = oracle.served_after_faults.entry(self.name.clone()).or_default();
            *served = served.saturating_add(1);
        }
    }

    /// Calls until told to stop.
    pub async fn call(mut self) {
        while !self.is_over() {
            sleep(self.rng.ms(5, 80)).await;
            let node = self.node();
            let guest = self.rng.percent(30);
            let principals = if guest { &scene::GUESTS[..] } else { &scene::CALLERS[..] };
            let tenant = if guest || self.rng.percent(70) { "acme" } else { "beta" };
            let Some(principal) = self.rng.pick(principals) else { return };
            let call = Ask::Call {
                tenant: tenant.to_owned(),
                principal: (*principal).to_owned(),
                work_ms: self.rng.between(0, 40),
                hasty: self.rng.percent(5),
            };
            let answer = ask(node, &call).await;
            if answer == Some(Answer::Sealed) {
                self.served();
            }
            let answer = answer.map_or("no answer".to_owned(), |answer| answer.to_string());
            self.stage.trace.line(&self.name, format_args!("n{node} {call}: {answer}"));
        }
    }

    /// One call after the other, without waiting for answers, in the name of each guest that surely may not call; and a
    /// call and a local read of who may: whether the node decides and answers while it is too old is judged there.
    pub async fn intrude(mut self) {
        while !self.is_over() {
            sleep(self.rng.ms(20, 60)).await;
            let Some(node) = locked(&self.stage.oracle).behind else { continue };
            let Ok(tenant) = TenantId::new("acme") else { return };
            for guest in scene::GUESTS {
                let barred = locked(&self.stage.oracle).barred(&tenant, guest).is_some();
                if !barred {
                    continue;
                }
                let (tenant, principal) = (tenant.to_string(), guest.to_owned());
                let call = Ask::Call { tenant, principal, work_ms: 5, hasty: false };
                tokio::spawn(async move { ask(node, &call).await });
            }
            let Some(caller) = self.rng.pick(&scene::CALLERS) else { return };
            let (tenant, principal) = (tenant.to_string(), (*caller).to_owned());
            let call = Ask::Call { tenant, principal, work_ms: 5, hasty: false };
            tokio::spawn(async move { ask(node, &call).await });
            let whole = self.rng.percent(50);
            let staleness_ms_max = if whole { STALENESS_MS_MAX } else { self.rng.between(50, 1_500) };
            let level = Level::Local { staleness_ms_max };
            let look = Ask::Look { register: 1, level, revision_min: 0 };
            tokio::spawn(async move { ask(node, &look).await });
        }
    }

    /// Calls of the tenant whose limits bind; and once it is told to, until a limit is used up.
    pub async fn spend(mut self) {
        while !self.is_over() {
            sleep(self.rng.ms(5, 120)).await;
            let node = self.node();
            let Some(principal) = self.rng.pick(&scene::CALLERS) else { return };
            let work_ms = self.rng.between(0, 60);
            let hasty = self.rng.percent(5);
            self.spend_once(node, principal, work_ms, hasty).await;
        }
        while !locked(&self.stage.oracle).spend_the_rest {
            sleep(self.rng.ms(5, 20)).await;
        }
        loop {
            let node = self.node();
            match self.spend_once(node, scene::SPARING, 1, false).await {
                Some(Answer::Exceeded) => break,
                Some(Answer::Unavailable) => {
                    let what = format!("n{node} refused a call though all that is left could be reached");
                    self.stage.violated("P1 liveness", what);
                    break;
                }
                _ => {}
            }
        }
        let mut oracle = locked(&self.stage.oracle);
        oracle.spenders_done = oracle.spenders_done.saturating_add(1);
    }

    async fn spend_once(&self, node: u64, principal: &str, work_ms: u64, hasty: bool) -> Option<Answer> {
        let (tenant, principal) = (scene::TIGHT.to_owned(), principal.to_owned());
        let call = Ask::Call { tenant, principal, work_ms, hasty };
        let answer = ask(node, &call).await;
        let text = answer.map_or("no answer".to_owned(), |answer| answer.to_string());
        self.stage.trace.line(&self.name, format_args!("n{node} {call}: {text}"));
        answer
    }

    /// Writes and reads until told to stop; then settles what is unknown.
    pub async fn administrate(mut self) {
        let mut number: u64 = 0;
        let mut standing: Vec<GrantId> = Vec::new();
        let mut budgets = self.stage.budgets.clone();
        while !self.is_over() {
            sleep(self.rng.ms(20, 300)).await;
            number = number.saturating_add(1);
            let drawn = self.rng.between(0, 13);
            let told = locked(&self.stage.oracle).administrator_does;
            let step = match told.unwrap_or(drawn) {
                0..=4 => self.grant(number, &mut standing).await,
                5..=7 if !standing.is_empty() => self.revoke(&mut standing).await,
                8..=10 => self.limit(&mut budgets).await,
                11 => self.begin_anew(&budgets).await,
                12 if self.rng.percent(40) => self.force_close().await,
                _ => self.toggle().await,
            };
            if step.is_none() {
                self.stage.violated("the harness", "a record could not be made");
                return;
            }
        }
        if self.lift(&mut budgets).await.is_none() {
            self.stage.violated("the harness", "the limits could not be lifted");
        }
        locked(&self.stage.oracle).administrator_is_done = true;
    }

    /// Sets one limit anew, lower or higher.
    async fn limit(&mut self, budgets: &mut [Budget]) -> Option<()> {
        let last = u64::try_from(budgets.len()).ok()?.checked_sub(1)?;
        let at = usize::try_from(self.rng.between(0, last)).ok()?;
        let budget = budgets.get_mut(at)?;
        // Mostly about what it was: a lowered limit is soon below what is lent, a raised one soon used up again.
        let percent = self.rng.between(40, 170);
        let amount = budget.amount.checked_mul(percent.into())?.checked_div(100)?;
        budget.amount = amount.clamp(5, 400);
        self.put(budget.clone()).await
    }

    async fn put(&mut self, budget: Budget) -> Option<()> {
        let command = Command::PutBudget { budget: Box::new(budget), if_revision: None };
        self.write(command, |_| {}).await.map(drop)
    }

    /// Takes the minute's limit away for a moment.
    async fn begin_anew(&mut self, budgets: &[Budget]) -> Option<()> {
        let minute = budgets.last()?.clone();
        let gone = Command::DeleteBudget { tenant: minute.tenant.clone(), budget: minute.id.clone() };
        self.write(gone, |_| {}).await?;
        sleep(self.rng.ms(0, 500)).await;
        self.put(minute).await
    }

    /// Takes a node for lost, which it may not be.
    async fn force_close(&mut self) -> Option<()> {
        let node = NodeId(self.node());
        self.write(Command::ForceClose { node, account: None }, |_| {}).await.map(drop)
    }

    /// Leaves one limit that binds: the one that never begins anew, with some more to spend.
    async fn lift(&mut self, budgets: &mut [Budget]) -> Option<()> {
        for budget in budgets {
            let more = i128::from(self.rng.between(5, 25));
            let binds = budget.period == PeriodKind::Total;
            budget.amount = if binds { budget.amount.checked_add(more)? } else { scene::PLENTY };
            self.put(budget.clone()).await?;
        }
        Some(())
    }

    async fn grant(&mut self, number: u64, standing: &mut Vec<GrantId>) -> Option<()> {
        let acme = TenantId::new("acme").ok()?;
        let guest = self.rng.pick(&scene::GUESTS)?;
        let grant = scene::grant(&acme, &format!("grant-{number}"), guest).ok()?;
        let id = grant.id.clone();
        locked(&self.stage.oracle).grants.insert(id.clone(), Granted::new(guest));
        let tried = |stage: &Stage| {
            locked(&stage.oracle).grant_tried(&id, true);
        };
        if self.write(Command::CreateGrant(grant), tried).await? {
            locked(&self.stage.oracle).grants.get_mut(&id)?.register.settled(true);
            standing.push(id.clone());
            self.read_back(&id, Answer::There).await;
        }
        Some(())
    }

    async fn revoke(&mut self, standing: &mut Vec<GrantId>) -> Option<()> {
        let last = u64::try_from(standing.len()).ok()?.checked_sub(1)?;
        let id = standing.remove(usize::try_from(self.rng.between(0, last)).ok()?);
        let command = Command::RevokeGrant { tenant: TenantId::new("acme").ok()?, grant: id.clone() };
        let tried = |stage: &Stage| {
            locked(&stage.oracle).grant_tried(&id, false);
        };
        if self.write(command, tried).await? {
            locked(&self.stage.oracle).grants.get_mut(&id)?.register.settled(false);
            self.read_back(&id, Answer::Gone).await;
        }
        Some(())
    }

    /// Suspends `beta`, or lets it go on.
    async fn toggle(&mut self) -> Option<()> {
        let tenant = TenantId::new("beta").ok()?;
        let status = if self.rng.percent(25) { TenantStatus::Suspended } else { TenantStatus::Active };
        let command = Command::SetTenantStatus { tenant: tenant.clone(), status, if_revision: None };
        let tried = |stage: &Stage| {
            locked(&stage.oracle).tenant_tried(&tenant, status);
        };
        if self.write(command, tried).await? {
            locked(&self.stage.oracle).tenants.get_mut(&tenant)?.settled(status);
        }
        Some(())
    }

    /// Tries one write, on one node after the other, until its end is known. True: it stands.
    async fn write(&mut self, command: Command, tried: impl Fn(&Stage)) -> Option<bool> {
        let words = format!("{command:?}");
        let entry = scene::write(self.rng.bytes(), command).ok()?;
        let number = {
            let mut writes = locked(&self.stage.writes);
            writes.push(entry);
            writes.len().checked_sub(1)?
        };
        self.stage.trace.line(&self.name, format_args!("write {number} is {words}"));
        loop {
            let node = self.node();
            tried(&self.stage);
            let answer = ask(node, &Ask::Write(number)).await;
            let text = answer.map_or("no answer".to_owned(), |answer| answer.to_string());
            self.stage.trace.line(&self.name, format_args!("n{node} write {number}: {text}"));
            match answer {
                Some(Answer::Done) => {
                    locked(&self.stage.oracle).write_ended(true);
                    return Some(true);
                }
                Some(Answer::Rejected) => {
                    self.stage.violated("P8", format_args!("write {number} was rejected: {words}"));
                    return Some(false);
                }
                _ => locked(&self.stage.oracle).write_ended(false),
            }
            sleep(self.rng.ms(10, 200)).await;
        }
    }

    /// INVARIANT: P8: a read that begins after the write was acknowledged sees it, on any node.
    async fn read_back(&mut self, grant: &GrantId, expected: Answer) {
        let node = self.node();
        match ask(node, &Ask::Read(grant.to_string())).await {
            None | Some(Answer::NotReady) => {}
            Some(answer) if answer == expected => {
                let mut oracle = locked(&self.stage.oracle);
                oracle.reads_done = oracle.reads_done.saturating_add(1);
            }
            Some(answer) => {
                let what = format!("n{node} says {answer} of {grant}, which is {expected}");
                self.stage.violated("P8", what);
            }
        }
    }
}
