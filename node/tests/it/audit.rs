//! What the nodes recorded, read from their exports, and held against what clients were told.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::mcp::Receipt;

/// One node's whole chain.
pub struct Export {
    pub events: Vec<Value>,
}

impl Export {
    /// Exports from one node and has the file checked without any server.
    pub async fn of(cluster: &Cluster, number: usize) -> Self {
        let path = cluster.path(&format!("export-{number}.jsonl"));
        let file = path.to_str().unwrap();
        cluster.ctl(number, &["audit", "export", "--all-tenants", "--file", file]).await;
        let (valid, said) = cluster.run(&["audit", "verify", "--file", file]).await;
        assert!(valid, "node {number}'s export does not verify: {said}");
        let online = cluster.ctl(number, &["audit", "verify"]).await;
        assert_eq!(online["valid"], true, "node {number}: {online}");
        assert_eq!(online["node"], number, "the asked node must answer for itself");
        let text = std::fs::read_to_string(&path).unwrap();
        let events = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap());
        Self { events: events.collect() }
    }

    /// The hash at an index.
    pub fn hash(&self, index: u64) -> Option<&str> {
        let event = self.events.get(usize::try_from(index).unwrap().checked_sub(1)?)?;
        assert_eq!(event["index"], index);
        event["hash"].as_str()
    }

    /// Indexes of the admissions of each call.
    pub fn admissions(&self) -> BTreeMap<&str, Vec<u64>> {
        self.by_call(|action| action != "call.complete")
    }

    pub fn completions(&self) -> BTreeMap<&str, Vec<u64>> {
        self.by_call(|action| action == "call.complete")
    }

    fn by_call(&self, wanted: impl Fn(&str) -> bool) -> BTreeMap<&str, Vec<u64>> {
        let mut found: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for line in &self.events {
            let event = &line["event"];
            if let (Some(call), true) =
                (event["call"].as_str(), wanted(event["action"].as_str().unwrap_or("")))
            {
                found.entry(call).or_default().push(line["index"].as_u64().unwrap());
            }
        }
        found
    }

    /// Nothing that a client was told is missing, nothing stands there twice.
    pub fn holds(&self, receipts: &[Receipt]) {
        let admissions = self.admissions();
        for receipt in receipts {
            assert_eq!(
                admissions.get(receipt.call.as_str()),
                Some(&vec![receipt.audit_index]),
                "{receipt:?}"
            );
            assert_eq!(self.hash(receipt.audit_index), Some(receipt.event_hash.as_str()), "{receipt:?}");
        }
        for (what, all) in [("admitted", &admissions), ("completed", &self.completions())] {
            if let Some((call, at)) = all.iter().find(|(_, at)| at.len() > 1) {
                panic!("call {call} stands there {what} at {at:?}");
            }
        }
    }
}

/// The chains of these nodes are one chain, and hold every receipt once.
pub async fn agree(cluster: &Cluster, numbers: &[usize], receipts: &[Receipt]) {
    let mut exports = Vec::new();
    for number in numbers {
        exports.push(Export::of(cluster, *number).await);
    }
    for export in &exports {
        export.holds(receipts);
        let common = export.events.len().min(exports[0].events.len());
        assert!(common > 0);
        assert_eq!(export.events[..common], exports[0].events[..common], "the chains differ");
    }
}
