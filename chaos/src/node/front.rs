//! The port that simulated clients speak to: one line asks, one answers. What a client is promised is told to the oracle
//! here, at the instant the answer may leave the node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use only1mcp_consensus::{Handle, ProposeError};
use only1mcp_domain::activity::{CallOutcome, ItemKind};
use only1mcp_domain::command::{Command, Entry};
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{Digest, GrantId, NodeId, PrincipalId, TenantId};
use only1mcp_domain::model::NodeRole;
use only1mcp_enforcer::{CallFacts, Clock as _, Enforcer};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::{Instant, sleep, timeout_at};
use turmoil::net::{TcpListener, TcpStream};

use super::Site;
use crate::invariants::admin::has_grant;
use crate::linear::Level;
use crate::oracle::{Life, RefusedCall};
use crate::registrar::STALENESS_MS_MAX;
use crate::scene;
use crate::stage::locked;

const ADMIT_WITHIN: Duration = Duration::from_secs(8);
const PAUSE_LOOK: Duration = Duration::from_millis(5);
const WRITE_WITHIN: Duration = Duration::from_secs(3);

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// A call whose upstream takes `work_ms`; a hasty client is gone before the upstream answers.
    Call { tenant: String, principal: String, work_ms: u64, hasty: bool },
    /// The administrative write of this number.
    Write(usize),
    /// Whether a grant is there, linearizably.
    Read(String),
    /// What register `register` holds, as consistently as asked; of state at or after `revision_min`.
    Look { register: u64, level: Level, revision_min: u64 },
    /// A node is taken out of the cluster, and what it has not told is given up.
    Remove(u64),
    /// A node is registered and added as a learner.
    Admit(u64),
    /// A learner becomes a voter.
    Promote(u64),
    /// A voter is to lead.
    Transfer(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The upstream's answer, sealed.
    Sealed,
    Withheld,
    Refused,
    /// The limit is used up.
    Exceeded,
    /// What is left of the limit is out of reach.
    Unavailable,
    Done,
    Rejected,
    Unknown,
    NotReady,
    There,
    Gone,
    /// Of a register: the index of the state that was read, and the value and its revision, or 0 and 0.
    Holds {
        index: u64,
        value: u64,
        revision: u64,
    },
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ask::Call { tenant, principal, work_ms, hasty } => {
                write!(f, "call {tenant} {principal} {work_ms} {hasty}")
            }
            Ask::Write(number) => write!(f, "write {number}"),
            Ask::Read(grant) => write!(f, "read {grant}"),
            Ask::Look { register, level, revision_min } => {
                let level = match level {
                    Level::Linearizable => "linearizable 0".to_owned(),
                    Level::Lease => "lease 0".to_owned(),
                    Level::Local { staleness_ms_max } => format!("local {staleness_ms_max}"),
                };
                write!(f, "look {register} {level} {revision_min}")
            }
            Ask::Remove(node) => write!(f, "remove {node}"),
            Ask::Admit(node) => write!(f, "admit {node}"),
            Ask::Promote(node) => write!(f, "promote {node}"),
            Ask::Transfer(node) => write!(f, "transfer {node}"),
        }
    }
}

impl Ask {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        match words.next()? {
            "call" => Some(Self::Call {
                tenant: words.next()?.to_owned(),
                principal: words.next()?.to_owned(),
                work_ms: words.next()?.parse().ok()?,
                hasty: words.next()?.parse().ok()?,
            }),
            "write" => Some(Self::Write(words.next()?.parse().ok()?)),
            "read" => Some(Self::Read(words.next()?.to_owned())),
            "look" => Some(Self::Look {
                register: words.next()?.parse().ok()?,
                level: match (words.next()?, words.next()?.parse().ok()?) {
                    ("linearizable", _) => Level::Linearizable,
                    ("lease", _) => Level::Lease,
                    ("local", staleness_ms_max) => Level::Local { staleness_ms_max },
                    _ => return None,
                },
                revision_min: words.next()?.parse().ok()?,
            }),
            "remove" => Some(Self::Remove(words.next()?.parse().ok()?)),
            "admit" => Some(Self::Admit(words.next()?.parse().ok()?)),
            "promote" => Some(Self::Promote(words.next()?.parse().ok()?)),
            "transfer" => Some(Self::Transfer(words.next()?.parse().ok()?)),
            _ => None,
        }
    }
}

impl Answer {
    const ALL: [Self; 11] = [
        Self::Sealed,
        Self::Withheld,
        Self::Refused,
        Self::Exceeded,
        Self::Unavailable,
        Self::Done,
        Self::Rejected,
        Self::Unknown,
        Self::NotReady,
        Self::There,
        Self::Gone,
    ];

    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        if words.next() == Some("holds") {
            let mut number = || words.next()?.parse().ok();
            return Some(Self::Holds { index: number()?, value: number()?, revision: number()? });
        }
        Self::ALL.into_iter().find(|answer| answer.to_string() == line.trim())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds { index, value, revision } => write!(f, "holds {index} {value} {revision}"),
            other => fmt::Debug::fmt(other, f),
        }
    }
}

/// The command id of one step of an operation on a node, the same at every attempt.
fn operation(step: u8, node: NodeId) -> [u8; 16] {
    let mut id = [step; 16];
    id.iter_mut().zip(node.0.to_be_bytes()).for_each(|(byte, of_node)| *byte = of_node);
    id
}

struct Front {
    site: Arc<Site>,
    life: Life,
    handle: Handle,
    enforcer: Arc<Enforcer>,
}

pub async fn serve(
    site: Arc<Site>,
    life: Life,
    listener: TcpListener,
    handle: Handle,
    enforcer: Arc<Enforcer>,
) {
    let front = Arc::new(Front { site, life, handle, enforcer });
    while let Ok((stream, _)) = listener.accept().await {
        let front = front.clone();
        tokio::spawn(async move { front.answer(stream).await });
    }
}

impl Front {
    async fn answer(&self, stream: TcpStream) {
        let (read, mut write) = stream.into_split();
        let mut line = String::new();
        let read = BufReader::new(read).read_line(&mut line).await;
        let Some(ask) = read.ok().and_then(|_| Ask::parse(&line)) else { return };
        let answer = match ask {
            Ask::Call { tenant, principal, work_ms, hasty } => {
                self.call(&tenant, &principal, work_ms, hasty).await
            }
            Ask::Write(number) => self.write(number).await,
            Ask::Read(grant) => self.read(&grant).await,
            Ask::Look { register, level, revision_min } => self.look(register, level, revision_min).await,
            Ask::Remove(node) => self.remove(NodeId(node)).await,
            Ask::Admit(node) => self.admit(NodeId(node)).await,
            Ask::Promote(node) => self.promote(NodeId(node)).await,
            Ask::Transfer(node) => {
                let moved = self.handle.transfer_leader(NodeId(node), Instant::now() + WRITE_WITHIN).await;
                Some(if moved.is_ok() { Answer::Done } else { Answer::Unknown })
            }
        };
        if let Some(answer) = answer {
            // The client may be gone; its promise stands all the same.
            let _ = write.write_all(format!("{answer}\n").as_bytes()).await;
        }
    }

    fn facts(tenant: &str, principal: &str) -> Option<CallFacts> {
        let id = TenantId::new(tenant).ok()?;
        Some(CallFacts {
            tenant: id.clone(),
            principal: PrincipalId::new(principal).ok()?,
            key: Some(scene::key_of(&id, principal).ok()?),
            caller_tenant: id,
            session: None,
            project: None,
            ip: None,
            mfa: false,
            user_agent: "sim".to_owned(),
            request_id: String::new(),
            tags: std::collections::BTreeMap::new(),
            input_bytes: 0,
        })
    }

    /// As the gateway does it.
    async fn call(&self, tenant: &str, principal: &str, work_ms: u64, hasty: bool) -> Option<Answer> {
        let facts = Self::facts(tenant, principal)?;
        let upstream = scene::upstream_id().ok()?;
        let stage = &self.site.stage;
        let barred = locked(&stage.oracle).barred(&facts.tenant, principal);
        let asked_ms = stage.time.ms();
        let deadline = Instant::now() + ADMIT_WITHIN;
        let admitted = self
            .enforcer
            .admit(&facts, ItemKind::Tool, scene::TOOL, &upstream, Digest([5; 32]), deadline)
            .await;
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => {
                let mut oracle = locked(&stage.oracle);
                oracle.refused.push(RefusedCall {
                    life: self.life,
                    decision: refused.decision,
                    tenant: tenant.to_owned(),
                    principal: principal.to_owned(),
                    reason: refused.reason.code(),
                });
                let (answer, count) = match refused.reason {
                    Reason::BudgetExceeded => (Answer::Exceeded, Some(&mut oracle.exceeded)),
                    Reason::BudgetUnavailable => (Answer::Unavailable, Some(&mut oracle.unavailable)),
                    _ => (Answer::Refused, None),
                };
                if let Some(count) = count {
                    *count = count.saturating_add(1);
                }
                return Some(answer);
            }
        };
        // INVARIANT: P4: it was decided no earlier than it was asked for, and on no later state than this.
        let applied = self.enforcer.view().applied;
        let fresh = locked(&stage.watch).committed.check(asked_ms, STALENESS_MS_MAX, applied);
        stage.check("P4 freshness", fresh);
        let call = admitted.call();
        let known = locked(&stage.oracle).admitted(self.life, call);
        stage.check("each call is admitted once", known);
        // A process that is paused between its check and the sending finds everything changed.
        while self.site.is_paused() {
            sleep(PAUSE_LOOK).await;
        }
        sleep(Duration::from_millis(work_ms)).await;
        if hasty {
            return None;
        }
        let Ok(receipt) = admitted.sealed().await else {
            locked(&stage.oracle).withheld(call);
            // Its own refusal is in the receipt; that the end is recorded is checked in the chain.
            let _ = admitted.complete(CallOutcome::Withheld, Digest::default(), 0).await;
            return Some(Answer::Withheld);
        };
        if admitted.complete(CallOutcome::Success, Digest([6; 32]), 64).await.is_err() {
            return Some(Answer::Withheld);
        }
        // INVARIANT: P2: from here on the answer may have left the node.
        let promised = locked(&stage.oracle).sealed(call, receipt.audit);
        stage.check("P2", promised);
        // INVARIANT: P4: what was revoked before the call was made is found at the latest when it is applied.
        if barred.is_some() && barred == locked(&stage.oracle).barred(&facts.tenant, principal) {
            stage.violated(
                "P4",
                format_args!("call {call} of {tenant}/{principal} was answered, revoked as it was"),
            );
        }
        Some(Answer::Sealed)
    }

    async fn write(&self, number: usize) -> Option<Answer> {
        let entry = locked(&self.site.stage.writes).get(number).cloned()?;
        Some(self.propose(entry).await)
    }

    async fn propose(&self, mut entry: Entry) -> Answer {
        entry.observed_at.0 = self.site.clock.now_ms();
        match self.handle.propose(entry, Instant::now() + WRITE_WITHIN).await {
            Ok(committed) => match committed.outcome {
                Ok(_) => Answer::Done,
                Err(rejection) => {
                    self.site.stage.trace.line(&self.site.name, format_args!("rejects: {rejection}"));
                    Answer::Rejected
                }
            },
            Err(ProposeError::NotReady) => Answer::NotReady,
            Err(_) => Answer::Unknown,
        }
    }

    async fn remove(&self, node: NodeId) -> Option<Answer> {
        let command = Command::RemoveNode { node, lose_journal: true };
        let answer = self.propose(scene::write(operation(1, node), command).ok()?).await;
        if answer != Answer::Done {
            return Some(answer);
        }
        let removed = self.handle.remove(node, Instant::now() + WRITE_WITHIN).await;
        Some(if removed.is_ok() { Answer::Done } else { Answer::Unknown })
    }

    async fn admit(&self, node: NodeId) -> Option<Answer> {
        let [token, register] = scene::admit_node(node).ok()?;
        let answer = self.propose(scene::write(operation(2, node), token).ok()?).await;
        // Made before, it is rejected: its secret is shown once, and nobody here needs it.
        if !matches!(answer, Answer::Done | Answer::Rejected) {
            return Some(answer);
        }
        let answer = self.propose(scene::local(operation(3, node), register).ok()?).await;
        if answer != Answer::Done {
            return Some(answer);
        }
        let added = self.handle.add_learner(node, Instant::now() + WRITE_WITHIN).await;
        Some(if added.is_ok() { Answer::Done } else { Answer::Unknown })
    }

    async fn promote(&self, node: NodeId) -> Option<Answer> {
        if self.handle.promote(node, Instant::now() + WRITE_WITHIN).await.is_err() {
            return Some(Answer::Unknown);
        }
        let command = Command::SetNodeRole { node, role: NodeRole::Voter };
        Some(self.propose(scene::write(operation(4, node), command).ok()?).await)
    }

    async fn read(&self, grant: &str) -> Option<Answer> {
        let grant = GrantId::new(grant).ok()?;
        let deadline = Instant::now() + WRITE_WITHIN;
        let Ok(index) = self.handle.read_index(deadline).await else { return Some(Answer::NotReady) };
        let Ok(state) = self.handle.wait_applied(index, deadline).await else {
            return Some(Answer::NotReady);
        };
        Some(if has_grant(&state, &grant) { Answer::There } else { Answer::Gone })
    }

    /// As the admin port does it, from the view that calls are decided on.
    async fn look(&self, register: u64, level: Level, revision_min: u64) -> Option<Answer> {
        let deadline = Instant::now() + WRITE_WITHIN;
        let index = match level {
            Level::Linearizable => self.handle.read_index(deadline).await,
            Level::Lease => self.handle.read_lease(deadline).await,
            Level::Local { .. } => Ok(revision_min),
        };
        let Ok(index) = index else { return Some(Answer::NotReady) };
        if timeout_at(deadline, self.enforcer.wait_view(index)).await.is_err() {
            return Some(Answer::NotReady);
        }
        let view = match level {
            Level::Local { staleness_ms_max } => self.enforcer.view_within(staleness_ms_max),
            Level::Linearizable | Level::Lease => Some(self.enforcer.view()),
        };
        let Some(view) = view else { return Some(Answer::NotReady) };
        if let Level::Local { staleness_ms_max } = level {
            let stage = &self.site.stage;
            let now_ms = stage.time.ms();
            let fresh = locked(&stage.watch).committed.check(now_ms, staleness_ms_max, view.applied);
            stage.check("P8 local reads", fresh);
        }
        let (value, revision) = scene::register_in(&view.state, register).unwrap_or_default();
        Some(Answer::Holds { index: view.state.last_applied, value, revision })
    }
}
