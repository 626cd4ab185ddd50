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
        let mut events: Vec<Value> =
            text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = events.pop().unwrap();
        assert!(last["signed"].is_object(), "the export does not end with its node's signature: {last}");
        Self { events }
    }

    /// The hash at an index.
    pub fn hash(&self, index: u64) -> Option<&str> {
        let event = self.events.get(usize::try_from(index).unwrap().checked_sub(1)?)?;
        assert_eq!(event["index"], index);
        event["hash"].as_str()
    }

    /// Indexes of the admissions of each call.
    pub fn admissions(&self) -> BTreeMap<&str, Vec<u64>> {
        // Other events name a call, too: that it passed a share of a budget, for one.
        self.by_call(|event| event["kind"] == "AccessGranted")
    }

    pub fn completions(&self) -> BTreeMap<&str, Vec<u64>> {
        self.by_call(|event| event["action"] == "call.complete")
    }

    /// How often a reason was given for a refusal, folded ones counted one by one.
    pub fn refusals(&self, reason: &str) -> u64 {
        let refused = self
            .events
            .iter()
            .map(|line| &line["event"])
            .filter(|event| event["kind"] == "AccessDenied" && event["reason"] == reason);
        refused.map(|event| detail(event, "count").unwrap().parse::<u64>().unwrap()).sum()
    }

    /// What was counted as spent of a limit, because a node did not know what became of it.
    pub fn unattributed(&self, limit: &str) -> usize {
        let restarts =
            self.events.iter().map(|line| &line["event"]).filter(|e| e["reason"] == "unattributed_restart");
        let details = restarts.flat_map(|event| event["details"].as_array().unwrap());
        let posted = details.filter(|detail| {
            detail[0].as_str().is_some_and(|name| name.starts_with("posted in full") && name.contains(limit))
        });
        posted.map(|detail| detail[1].as_str().unwrap().parse::<usize>().unwrap()).sum()
    }

    fn by_call(&self, wanted: impl Fn(&Value) -> bool) -> BTreeMap<&str, Vec<u64>> {
        let mut found: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for line in &self.events {
            let event = &line["event"];
            if let (Some(call), true) = (event["call"].as_str(), wanted(event)) {
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

/// One detail of an event.
fn detail<'e>(event: &'e Value, name: &str) -> Option<&'e str> {
    event["details"].as_array()?.iter().find(|detail| detail[0] == name)?[1].as_str()
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
