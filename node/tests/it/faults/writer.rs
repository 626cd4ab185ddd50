//! An operator who goes on writing through every fault, now through this node and now through that, and remembers what
//! was acknowledged. A write that was not may have been done or not: nobody may count on either.

use std::cell::Cell;
use std::rc::Rc;

use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep, timeout};

use crate::faults::world::{NODES, TENANT, World};

/// Leaves the processors to the nodes.
const PAUSE: Duration = Duration::from_millis(250);
/// A command that is not answered by then is given up.
const GIVEN_UP: Duration = Duration::from_secs(8);

pub struct Writer {
    stop: Rc<Cell<bool>>,
    task: JoinHandle<()>,
}

impl Writer {
    pub fn start(world: &World) -> Self {
        let stop = Rc::new(Cell::new(false));
        let (operator, written, stopped) = (world.operator(), world.written.clone(), stop.clone());
        let first = written.borrow().len();
        let task = tokio::task::spawn_local(async move {
            let mut number = 0;
            while !stopped.get() {
                number += 1;
                let name = format!("writer-{first}-{number}");
                let create = ["principal", "create", &name, "--tenant", TENANT, "--kind", "service"];
                let done = timeout(GIVEN_UP, operator.try_ctl(number % NODES + 1, &create)).await;
                if let Ok(Ok(_)) = done {
                    written.borrow_mut().push(name);
                }
                sleep(PAUSE).await;
            }
        });
        Self { stop, task }
    }

    pub async fn end(self) {
        self.stop.set(true);
        self.task.await.unwrap();
    }
}
