//! Calls at a bounded rate, spread over many users: each call is the next user's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::load::{Client, Target};

/// Each has a connection to every node and calls for its share of the users.
const WORKERS: usize = 16;

pub struct Told {
    pub answered: usize,
    pub failed: usize,
    pub lasted: Duration,
}

pub async fn run(users: &[Target], per_second: u32, lasting: Duration) -> Told {
    let began = Instant::now();
    let pause = Duration::from_secs(1) * u32::try_from(WORKERS).unwrap() / per_second;
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let mine: Vec<Target> = users.iter().skip(worker).step_by(WORKERS).cloned().collect();
        workers.spawn(async move {
            let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
            let (mut answered, mut failed) = (0, 0);
            let mut ticks = tokio::time::interval(pause);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for user in mine.iter().cycle() {
                ticks.tick().await;
                if began.elapsed() >= lasting {
                    break;
                }
                let mut client = match clients.remove(&user.address) {
                    Some(client) => client,
                    None => Client::connect(user.clone()).await,
                };
                client.act_as(user);
                match client.call().await {
                    Ok(()) => {
                        answered += 1;
                        clients.insert(user.address, client);
                    }
                    // Its connection may be gone.
                    Err(why) => {
                        eprintln!("a call failed: {why}");
                        failed += 1;
                    }
                }
            }
            (answered, failed)
        });
    }
    let (mut answered, mut failed) = (0, 0);
    for (of_one, broken) in workers.join_all().await {
        answered += of_one;
        failed += broken;
    }
    Told { answered, failed, lasted: began.elapsed() }
}
