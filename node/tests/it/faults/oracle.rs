//! P3, P6: whatever happened on the way, the nodes end with one chain that holds every receipt once.

use crate::audit::Export;
use crate::faults::load::{Told, receipts};
use crate::faults::world::{NODES, World};

/// To be asked when all faults have ended and the callers, too.
pub async fn agree(world: &World, told: &[Told]) {
    let receipts = receipts(told);
    assert!(!receipts.is_empty());
    for export in exports(world).await {
        export.holds(&receipts);
    }
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
        let events = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        exports.push(Export { events });
    }
    for export in &exports {
        let common = export.events.len().min(exports[0].events.len());
        assert!(export.events[..common] == exports[0].events[..common], "the chains differ");
    }
    exports
}
