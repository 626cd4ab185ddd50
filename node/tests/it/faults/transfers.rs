//! How long callers wait while the leader hands its office over, again and again, with nothing else amiss. Told, not
//! judged; nobody may be refused.

use tokio::time::Duration;

use crate::faults::failover::{hand_over, report, row, slowest};
use crate::faults::load::{Load, locally, refusals};
use crate::faults::oracle::agree;
use crate::faults::world::{NODES, TENANT, World, play};

const TRANSFERS: usize = 20;

/// As the leaders tell it that gave their office away.
fn taken(world: &World) -> Vec<Duration> {
    let logs = (1..=NODES).map(|number| world.log(number)).collect::<String>();
    let ended = logs.lines().filter(|line| line.contains("handed over") && line.contains("taken=true"));
    let took = ended.filter_map(|line| line.split("took_ms=").nth(1)?.split(' ').next()?.parse().ok());
    took.map(Duration::from_millis).collect()
}

async fn the_office_goes_round(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let load = Load::start(world, &key, 2).await;
    let mut transfers = Vec::new();
    for _ in 0..TRANSFERS {
        transfers.push(hand_over(world, &load).await);
    }
    let told = load.end().await;
    let asked_for: Vec<Duration> = transfers.iter().map(|(told, _, _)| *told).collect();
    let stalls: Vec<Duration> = transfers.iter().map(|(_, from, to)| slowest(&told, *from, *to)).collect();
    let others: Vec<Duration> =
        transfers.windows(2).map(|pair| slowest(&told, pair[0].2, pair[1].1)).collect();
    let handed_over = taken(world);
    assert!(handed_over.len() >= TRANSFERS, "{} transfers are in the logs", handed_over.len());
    let mut table = String::from("| times in ms | count | p50 | p99 | max |\n|---|---|---|---|---|\n");
    for row in [
        row("planned transfer: until the old leader knows that the new one leads", &handed_over),
        row("planned transfer: the command, its process included", &asked_for),
        row("planned transfer: the slowest call under way", &stalls),
        row("between two of them: the slowest call under way", &others),
    ] {
        table += &format!("{row}\n");
    }
    eprintln!("{table}");
    let all: Vec<usize> = (1..=NODES).collect();
    assert_eq!(refusals(&told, &all), Vec::<String>::new(), "a transfer delays, it does not refuse");
    agree(world, &told).await;
    report(&table);
}

#[test]
#[ignore = "needs root, and long: cargo xtask soak --faults"]
fn faults_soak_the_office_is_handed_over_again_and_again() {
    play(16, async |world| locally(the_office_goes_round(world)).await);
}
