//! Simulated clients, on hosts of their own: callers that make one call after the other on any node, and an
//! administrator that writes, retries what it is not sure of under the same command id, and reads what it wrote.

use std::sync::Arc;
use std::time::Duration;

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{GrantId, TenantId};
use only1mcp_domain::model::TenantStatus;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::sleep;
use turmoil::net::TcpStream;

use crate::node::{Answer, Ask, FRONT_PORT};
use crate::oracle::Granted;
use crate::rng::Rng;
use crate::scene;
use crate::stage::{Stage, locked};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One question to one node. `None`: no answer came.
async fn ask(node: u64, ask: &Ask) -> Option<Answer> {
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

/// A client and the randomness it acts on.
pub struct Client {
    pub name: String,
    pub stage: Arc<Stage>,
    pub rng: Rng,
}

impl Client {
    fn is_over(&self) -> bool {
        locked(&self.stage.oracle).clients_stop
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
            let node = self.rng.between(1, 3);
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

    /// Writes and reads until told to stop; then settles what is unknown.
    pub async fn administrate(mut self) {
        let mut number: u64 = 0;
        let mut standing: Vec<GrantId> = Vec::new();
        while !self.is_over() {
            sleep(self.rng.ms(20, 300)).await;
            number = number.saturating_add(1);
            let step = match self.rng.between(0, 9) {
                0..=4 => self.grant(number, &mut standing).await,
                5..=7 if !standing.is_empty() => self.revoke(&mut standing).await,
                _ => self.toggle().await,
            };
            if step.is_none() {
                self.stage.violated("the harness", "a record could not be made");
                return;
            }
        }
        locked(&self.stage.oracle).administrator_is_done = true;
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
            let node = self.rng.between(1, 3);
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
        let node = self.rng.between(1, 3);
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
