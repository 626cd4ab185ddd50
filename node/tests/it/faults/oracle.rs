//! P1, P3, P6, P8: whatever happened on the way, the nodes end with one chain that holds every receipt once, with every
//! write that was acknowledged, and with a ledger that counts just the calls in the chain.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::Export;
use crate::cluster::eventually;
use crate::faults::load::{Told, receipts};
use crate::faults::world::{BUDGET, NODES, TENANT, World};
use crate::ledger::Account;

/// To be asked when all faults have ended and the callers, too.
pub async fn agree(world: &World, told: &[Told]) {
    let receipts = receipts(told);
    assert!(!receipts.is_empty());
    // Ends follow their answers.
    let (mut posted, mut all) = (0, Vec::new());
    eventually("the ledger counts just the calls in the chain", async || {
        posted = settled(world).await;
        all = exports(world).await;
        // INVARIANT: P1 (nothing is spent twice or forgotten, whoever died meanwhile)
        all.iter().all(|export| charged(export) == posted)
    })
    .await;
    all.iter().for_each(|export| export.holds(&receipts));
    // INVARIANT: P6, P8
    let written = world.written.borrow().clone();
    for number in 1..=NODES {
        let listed = world.ctl(number, &["principal", "list", "--tenant", TENANT]).await.to_string();
        let recorded = successes(&all[number - 1]);
        for name in &written {
            assert!(listed.contains(&format!("\"{name}\"")), "node {number} lost the acknowledged {name}");
            assert_eq!(recorded.get(name.as_str()), Some(&1), "node {number}'s chain and {name}");
        }
    }
    eprintln!("{} receipts, {} writes and {posted} calls agree", receipts.len(), written.len());
}

/// How often something was done to each resource, by its id: looked up once for all, since chains may be long.
fn successes(export: &Export) -> BTreeMap<&str, usize> {
    let mut found = BTreeMap::new();
    for event in export.events.iter().map(|line| &line["event"]) {
        if let (Some(id), "success") =
            (event["resource"]["id"].as_str(), event["outcome"].as_str().unwrap_or(""))
        {
            *found.entry(id).or_default() += 1;
        }
    }
    found
}

/// What is posted to the budget of every call, once nothing of it is lent any more or is on its way.
async fn settled(world: &World) -> usize {
    let mut posted = BTreeSet::new();
    eventually("every node tells of the same, and nothing is under way", async || {
        posted.clear();
        let mut open = 0;
        for number in 1..=NODES {
            let shown = world.try_ctl(number, &["budget", "show", BUDGET, "--tenant", TENANT]).await;
            let Ok(shown) = shown else { return false };
            posted.insert(Account::of(&shown).posted);
            open += world.metric(number, "only1mcp_requests_in_flight").await.unwrap_or(1);
        }
        posted.len() == 1 && open == 0
    })
    .await;
    posted.into_iter().next().unwrap()
}

/// Calls of the tenant that are charged in the chain.
fn charged(export: &Export) -> usize {
    let of_tenant = |line: &&serde_json::Value| line["event"]["tenant"] == TENANT;
    let ends =
        export.events.iter().filter(of_tenant).filter(|line| line["event"]["action"] == "call.complete");
    ends.count() + export.unattributed(BUDGET)
}

/// Every node's chain, each verified, all of them one.
pub async fn exports(world: &World) -> Vec<Export> {
    let mut exports: Vec<Export> = Vec::new();
    for number in 1..=NODES {
        world.wait_ready(number).await;
        let path = world.path(&format!("export-{number}.jsonl"));
        let file = path.to_str().unwrap();
        world.ctl(number, &["audit", "export", "--all-tenants", "--file", file]).await;
        world.run(&["audit", "verify", "--file", file]).await;
        let online = world.ctl(number, &["audit", "verify"]).await;
        assert_eq!((&online["valid"], &online["node"]), (&true.into(), &number.into()), "{online}");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        // Between the header and the node's signature.
        let events = &lines[1..lines.len() - 1];
        let events = events.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        exports.push(Export { events });
    }
    for export in &exports {
        let common = export.events.len().min(exports[0].events.len());
        assert!(export.events[..common] == exports[0].events[..common], "the chains differ");
    }
    exports
}
