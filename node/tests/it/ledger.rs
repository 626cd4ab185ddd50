//! Budgets as an operator sees them, on each node.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::{Cluster, eventually};

/// A budget's one account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    pub posted: usize,
    pub outstanding: usize,
    pub available: usize,
    /// What is outstanding, by node.
    pub lent: BTreeMap<usize, usize>,
}

impl Account {
    /// Of `ctl budget show` with one row; nothing where there is none yet.
    pub fn of(shown: &Value) -> Self {
        let rows = shown.as_array().unwrap_or_else(|| panic!("no list: {shown}"));
        let Some(row) = rows.first() else { return Self::default() };
        assert_eq!(rows.len(), 1, "{shown}");
        let number = |row: &Value, name: &str| -> usize {
            let text = row[name].as_str().unwrap_or_else(|| panic!("no {name} in {row}"));
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            assert!(fraction.bytes().all(|digit| digit == b'0'), "these tests count in whole units: {row}");
            whole.parse().unwrap()
        };
        let lent = row["lent"].as_array().unwrap().iter();
        let lent = lent.map(|lent| (lent["node"].as_u64().unwrap() as usize, number(lent, "outstanding")));
        let account = Self {
            posted: number(row, "posted"),
            outstanding: number(row, "outstanding"),
            available: number(row, "available"),
            lent: lent.collect(),
        };
        assert_eq!(account.outstanding, account.lent.values().sum::<usize>(), "{row}");
        account
    }
}

/// The first tenant's own quotas bind nobody: what is tested is a budget.
pub async fn lift_quotas(cluster: &Cluster) {
    for quota in ["max_requests_per_minute", "max_concurrent_requests"] {
        cluster
            .ctl(1, &["tenant", "update", "acme", "--quota", &format!("{quota}=unlimited"), "--wait"])
            .await;
    }
}

/// The account of a budget of the first tenant, as one node tells it.
pub async fn account(cluster: &Cluster, node: usize, budget: &str) -> Account {
    Account::of(&cluster.ctl(node, &["budget", "show", budget, "--tenant", "acme"]).await)
}

/// Waits until these nodes tell of nothing but what is posted.
pub async fn all_tell(cluster: &Cluster, nodes: &[usize], budget: &str, posted: usize) {
    for node in nodes {
        eventually(&format!("node {node} tells of {posted} calls posted and none outstanding"), async || {
            let account = account(cluster, *node, budget).await;
            (account.posted, account.outstanding) == (posted, 0)
        })
        .await;
    }
}

/// Waits until these nodes tell of so much posted, whatever they still have in hand.
pub async fn all_posted(cluster: &Cluster, nodes: &[usize], budget: &str, posted: usize) {
    for node in nodes {
        eventually(&format!("node {node} tells of {posted} calls posted"), async || {
            account(cluster, *node, budget).await.posted == posted
        })
        .await;
    }
}

/// A metric with labels, as `name{…}`; nothing was counted yet where it is absent.
pub async fn counted(cluster: &Cluster, node: usize, metric: &str) -> u64 {
    let text = cluster.get(node, "/metrics", Some(&cluster.root_key())).await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// What was counted of a refusal, on one node.
pub async fn denials(cluster: &Cluster, node: usize, reason: &str) -> u64 {
    counted(cluster, node, &format!("only1mcp_denials_total{{reason=\"{reason}\"}}")).await
}
