//! Clients of registers: each writes, swaps and reads, on any node and at each consistency, one operation after the
//! other; what it asked and was told is recorded with its times. A write is tried again under the same command id, and
//! now and then given up: its end stays unknown.

use std::collections::BTreeMap;

use tokio::time::sleep;

use crate::client::{Client, ask};
use crate::linear::{Act, At, Came, Level};
use crate::node::{Answer, Ask};
use crate::scene;
use crate::stage::locked;

/// As the cluster's settings have it.
pub(crate) const STALENESS_MS_MAX: u64 = 2_000;
/// The bound is the node's to keep, by a clock of its own; both tick by the millisecond.
const TICKS_MS: u64 = 2;

/// The last of the numbers that draw what is done: a local read.
const LOCAL: u64 = 9;

/// What a client remembers of a register.
#[derive(Clone, Copy, Default)]
struct Seen {
    value: Option<u64>,
    revision: u64,
    /// The index of the state it was read from, and from where on that state may have been the newest.
    index: u64,
    from: At,
}

impl Client {
    /// Until told to stop.
    pub async fn register(mut self) {
        let mut seen: BTreeMap<u64, Seen> = BTreeMap::new();
        let mut written: u64 = 0;
        while !self.is_over() {
            sleep(self.rng.ms(10, 250)).await;
            let register = self.rng.between(1, scene::REGISTERS);
            let known = seen.entry(register).or_default();
            let behind = locked(&self.stage.oracle).behind.is_some();
            match if behind && self.rng.percent(50) { LOCAL } else { self.rng.between(0, LOCAL) } {
                0..=2 => {
                    written = written.saturating_add(1);
                    let act = Act::Put(self.value(written));
                    self.record_write(register, act, None).await;
                }
                3 => {
                    written = written.saturating_add(1);
                    let act = Act::Swap { from: known.value, to: self.value(written) };
                    self.record_write(register, act, Some(known.revision)).await;
                }
                4..=5 => self.record_read(register, Level::Linearizable, known).await,
                6..=7 => self.record_read(register, Level::Lease, known).await,
                _ => {
                    let bound =
                        if self.rng.percent(70) { STALENESS_MS_MAX } else { self.rng.between(50, 1_500) };
                    self.record_read(register, Level::Local { staleness_ms_max: bound }, known).await;
                }
            }
        }
    }

    /// No two writes of a world write the same.
    fn value(&self, written: u64) -> u64 {
        let client: u64 = self.name.trim_start_matches(char::is_alphabetic).parse().unwrap_or(0);
        written.saturating_mul(100).saturating_add(client)
    }

    fn invoke(&self, register: u64, act: Act, floor: Option<At>) -> At {
        locked(&self.stage.registers).invoke(&self.name, register, act, floor, self.stage.time.ms())
    }

    fn ended(&self, register: u64, node: u64, came: Came) {
        let mut registers = locked(&self.stage.registers);
        if let Some(operation) = registers.ended(&self.name, node, came, self.stage.time.ms()) {
            self.stage.trace.line(&self.name, format_args!("register {register} {operation}"));
        }
    }

    async fn record_write(&mut self, register: u64, act: Act, if_revision: Option<u64>) {
        let (Act::Put(value) | Act::Swap { to: value, .. }) = act else { return };
        let command = scene::put_register(register, value, if_revision);
        let entry = command.and_then(|command| scene::write(self.rng.bytes(), command));
        let Ok(entry) = entry else { return self.stage.violated("the harness", "no entry could be made") };
        let number = {
            let mut writes = locked(&self.stage.writes);
            writes.push(entry);
            writes.len().saturating_sub(1)
        };
        self.invoke(register, act, None);
        loop {
            let node = self.node();
            let answer = ask(node, &Ask::Write(number)).await;
            let came = match answer {
                Some(Answer::Done) => Came::Done,
                Some(Answer::Rejected) => Came::Refused,
                _ => Came::Unknown,
            };
            if came != Came::Unknown || self.rng.percent(25) || self.is_over() {
                return self.ended(register, node, came);
            }
            sleep(self.rng.ms(10, 300)).await;
        }
    }

    async fn record_read(&mut self, register: u64, level: Level, known: &mut Seen) {
        let behind = locked(&self.stage.oracle).behind;
        let local = matches!(level, Level::Local { .. });
        let back = local && behind.is_none() && self.rng.percent(50);
        let revision_min = if back { known.index } else { 0 };
        let kept = match level {
            Level::Local { staleness_ms_max } => {
                Level::Local { staleness_ms_max: staleness_ms_max.saturating_add(TICKS_MS) }
            }
            other => other,
        };
        let from = self.invoke(register, Act::Read(kept), (revision_min > 0).then_some(known.from));
        let node = if let Some(node) = behind.filter(|_| local) { node } else { self.node() };
        let answer = ask(node, &Ask::Look { register, level, revision_min }).await;
        let Some(Answer::Holds { index, value, revision }) = answer else {
            return self.ended(register, node, Came::Unknown);
        };
        if index < revision_min {
            let what = format!("node {node} answered at {index}, which was to be {revision_min}");
            self.stage.violated("P8 local reads", what);
        }
        let value = (revision > 0).then_some(value);
        self.ended(register, node, Came::Found(value));
        *known = Seen { value, revision, index, from };
    }
}
