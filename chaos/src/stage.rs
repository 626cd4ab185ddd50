//! What outlives every node of a world: time, trace, oracle, what was seen of Raft, and what was violated.

use std::sync::{Mutex, MutexGuard, PoisonError};

use only1mcp_domain::command::Entry;
use only1mcp_domain::model::Budget;

use crate::history::History;
use crate::invariants::Watch;
use crate::linear::Histories;
use crate::oracle::Oracle;
use crate::trace::{SimTime, Trace};
use crate::world::Shape;

/// One thread runs a world, so a lock is never contended; a panic elsewhere is reported by itself.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Stage {
    pub time: SimTime,
    pub trace: Trace,
    pub shape: Shape,
    pub oracle: Mutex<Oracle>,
    pub watch: Mutex<Watch>,
    pub history: Mutex<History>,
    /// What clients did to registers.
    pub registers: Mutex<Histories>,
    /// The tight tenant's, as the world begins with them.
    pub budgets: Vec<Budget>,
    /// Administrative writes that clients ask nodes for, by number.
    pub writes: Mutex<Vec<Entry>>,
    violations: Mutex<Vec<String>>,
}

impl Stage {
    pub fn new(shape: Shape, budgets: Vec<Budget>) -> Self {
        let time = SimTime::default();
        Self {
            trace: Trace::new(time.clone()),
            time,
            oracle: Mutex::new(Oracle { members: (1..=shape.founders).collect(), ..Oracle::default() }),
            shape,
            watch: Mutex::default(),
            history: Mutex::default(),
            registers: Mutex::default(),
            budgets,
            writes: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// Notes a broken invariant; the world ends at the next step.
    pub fn violated(&self, invariant: &str, what: impl std::fmt::Display) {
        let text = format!("{invariant}: {what}");
        self.trace.line("!!", &text);
        locked(&self.violations).push(text);
    }

    pub fn check(&self, invariant: &str, result: Result<(), String>) {
        if let Err(what) = result {
            self.violated(invariant, what);
        }
    }

    pub fn is_violated(&self) -> bool {
        !locked(&self.violations).is_empty()
    }

    pub fn violations(&self) -> Vec<String> {
        locked(&self.violations).clone()
    }
}
