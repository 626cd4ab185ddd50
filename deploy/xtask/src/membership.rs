//! `soak --membership N` and `soak --join EVENTS`: real consensus nodes in one process, and a dated result.

use std::process::ExitCode;

use anyhow::Result;

use crate::measured::Measured;
use crate::run;

pub fn soak(changes: u64) -> Result<ExitCode> {
    run::say(&format!("{changes} changes of membership; this takes a second or so for each"));
    let measured = Measured {
        test: "membership::as_many_changes_as_one_wants",
        mark: "membership: ",
        variable: ("ONLY1MCP_MEMBERSHIP_CHANGES", &changes.to_string()),
        name: "membership",
        title: "Changes of membership under load",
        before: "",
        after: "Real consensus nodes over loopback in one process, the log purged behind them; every acknowledged write is \
                there at the end, and all members agree.",
        command: &format!("cargo xtask soak --membership {changes}"),
    };
    measured.run()
}

/// Of the table that the test's rows make.
const COLUMNS: &str = "| events | snapshot point, ms | snapshot | streamed, ms | joined, ms | processor time meanwhile, ms | commits before, p50 / max ms | \
                       commits meanwhile, p50 / max ms | segments whole after | its tree after |\n\
                       |---|---|---|---|---|---|---|---|---|---|\n";

pub fn join(pasts: &str) -> Result<ExitCode> {
    run::say("joins behind pasts of that many events; the longest one takes minutes");
    let measured = Measured {
        test: "join_cost::what_a_join_costs_by_how_long_the_past_is",
        mark: "join: ",
        variable: ("ONLY1MCP_JOIN_EVENTS", pasts),
        name: "join",
        title: "What a snapshot and a join cost by how long the past is",
        before: COLUMNS,
        after: "Two real consensus nodes over loopback in one process, on real files. Joined: from the start of a node with \
                an empty folder until it has applied what the leader had committed; from then on it takes part. \
                The processor time is that of both nodes, and of the commits that go on meanwhile. Segments of the audit trail \
                follow behind it, so the last two columns grow with the past, and with what a joiner lacks of it. Written: \
                by the code that seals segments, not through the cluster; behind the last segment there are always 10,000 \
                events.",
        command: &format!("cargo xtask soak --join {pasts}"),
    };
    measured.run()
}
