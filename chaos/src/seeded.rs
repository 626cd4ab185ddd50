//! Running one world with every source of randomness seeded.
//!
//! Beside turmoil's own seed there are three: openraft's election times (the thread's generator), tokio's choice among
//! ready branches and waiters, and the order of hash maps. All three start from the operating system's random bytes, a
//! call that `mad-turmoil` answers from a seeded generator. It can be seeded once a process, and threads that asked
//! before keep what they got: so a process runs one world, on a thread of its own.

use std::sync::Mutex;

use rand::SeedableRng as _;

use crate::report::Report;
use crate::stage::locked;
use crate::world::{Options, World};

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs the world of `options`. To be called once in a process.
/// Errors: the thread of the world could not be started or panicked.
pub fn run(options: Options) -> Result<Report, String> {
    mad_turmoil::rand::set_rng(rand::rngs::StdRng::seed_from_u64(options.seed));
    std::panic::set_hook(Box::new(|info| locked(&PANICS).push(info.to_string())));
    let clocks = mad_turmoil::time::SimClocksGuard::init();
    let world = std::thread::Builder::new().stack_size(16 << 20).spawn(move || World::new(options).run());
    let report = world.map_err(|error| error.to_string())?.join();
    drop(clocks);
    let panics = std::mem::take(&mut *locked(&PANICS));
    match report {
        Ok(mut report) => {
            report.violations.extend(panics.into_iter().map(|panic| format!("panic: {panic}")));
            Ok(report)
        }
        Err(_) => Err(format!("the world panicked: {}", panics.join("; "))),
    }
}
