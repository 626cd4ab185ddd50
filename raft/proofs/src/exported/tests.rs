//! Every way to tamper with a file that the verifier must name.

use std::io::Cursor;

use only1mcp_domain::audit::{
    self, AuditEvent, ChainHead, EventActor, EventKind, EventOutcome, EventResource, Severity,
};
use only1mcp_domain::ids::{NodeId, TenantId};
use only1mcp_domain::time::TimestampMs;

use super::format::{FORMAT, Head, Header, Line, readable};
use super::verify::{Asked, Report, verify};
use crate::text::hex;

pub fn event(number: u64) -> AuditEvent {
    AuditEvent {
        kind: EventKind::AccessGranted,
        severity: Severity::Info,
        tenant: TenantId::new(if number.is_multiple_of(2) { "acme" } else { "other" }).unwrap(),
        actor: EventActor { tenant: "acme".into(), id: format!("user-{number}"), via: "key".into() },
        impersonator: None,
        action: "tools/call".into(),
        resource: EventResource { kind: "tool".into(), id: "demo__echo".into() },
        outcome: EventOutcome::Success,
        reason: String::new(),
        call: None,
        decision: None,
        revision: None,
        node: NodeId(1),
        observed_at: TimestampMs(number),
        log_time: TimestampMs(number),
        request_id: String::new(),
        session_id: String::new(),
        ip_address: None,
        user_agent: String::new(),
        geo_location: None,
        before_state: None,
        after_state: None,
        diff: None,
        details: vec![("a".into(), "b".into())],
        personal: Vec::new(),
        signature: None,
    }
}

/// A header and one line for each event, the odd ones as places only.
fn lines(count: u64) -> (Vec<String>, Vec<Head>) {
    let mut head = ChainHead::default();
    let header = Header {
        format: FORMAT.into(),
        cluster_id: "00".repeat(32),
        tenant: "acme".into(),
        start: Head::of(head),
        end_index: count,
        log_time_ms: 9,
        epoch: 2,
        frontier: Vec::new(),
    };
    let mut out = vec![serde_json::to_string(&header).unwrap()];
    let mut heads = Vec::new();
    for number in 1..=count {
        let event = event(number);
        let sealed = head.append(audit::encode(&event));
        let whole = number % 2 == 0;
        let line = Line {
            index: number,
            digest: sealed.digest.to_string(),
            hash: sealed.hash.to_string(),
            bytes: whole.then(|| hex(&sealed.bytes)),
            expired: None,
            event: whole.then(|| readable(&event)),
            personal: None,
        };
        out.push(serde_json::to_string(&line).unwrap());
        heads.push(Head::of(head));
    }
    (out, heads)
}

fn check(lines: &[String], heads: &[Head]) -> Result<Report, String> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let asked = Asked { heads: heads.to_vec(), ..Asked::default() };
    verify(Cursor::new(text), &asked).map_err(|fault| fault.to_string())
}

#[test]
fn a_sound_file_is_valid_with_every_head_of_it() {
    let (lines, heads) = lines(6);
    let report = check(&lines, &heads).unwrap();
    assert_eq!((report.events, report.places, report.heads), (6, 3, 6));
    assert_eq!(report.end, heads[5]);
    assert_eq!(report.epoch, 2);
    let before = lines[0].replace(",\"epoch\":2", "");
    let before: Vec<String> = [before].into_iter().chain(lines[1..].iter().cloned()).collect();
    assert_eq!(check(&before, &heads).unwrap().epoch, 1, "a file of before there were epochs");
}

#[test]
fn every_tampering_is_named() {
    let (good, heads) = lines(6);
    type Tamper = fn(&mut Vec<String>);
    let cases: [(&str, Tamper); 9] = [
        ("event 2 was edited", |f| f[2] = f[2].replacen("75736572", "75736573", 1)),
        ("reads otherwise than its bytes say", |f| f[2] = f[2].replace("user-2", "user-3")),
        ("event 3 was deleted", |f| drop(f.remove(3))),
        ("event 2 was moved", |f| f.swap(2, 3)),
        ("event 2 was inserted", |f| f.insert(3, f[2].clone())),
        ("ends at event 5; 6 was promised", |f| drop(f.pop())),
        ("the chain breaks at event 3", |f| f[3] = other_digest(&f[3])),
        ("no header", |f| drop(f.remove(0))),
        ("has text but no bytes", |f| f[3] = f[3].replace('}', ",\"event\":{}}")),
    ];
    for (expected, tamper) in cases {
        let mut file = good.clone();
        tamper(&mut file);
        let fault = check(&file, &heads[..5]).unwrap_err();
        assert!(fault.contains(expected), "expected {expected:?}, got {fault:?}");
    }
}

/// The line with another digest, of the same length.
fn other_digest(line: &str) -> String {
    let mut line: Line = serde_json::from_str(line).unwrap();
    line.digest = "ab".repeat(32);
    serde_json::to_string(&line).unwrap()
}

#[test]
fn a_rewritten_chain_is_a_fork_to_whoever_holds_a_head() {
    let (lines, _) = lines(4);
    let forged = Head { index: 3, hash: "11".repeat(32) };
    assert!(check(&lines, &[forged]).unwrap_err().contains("forked"));
    let later = Head { index: 9, hash: "11".repeat(32) };
    assert!(check(&lines, &[later]).unwrap_err().contains("9 was promised"));
}

#[test]
fn a_cut_line_and_a_wrong_start_are_named() {
    let (lines, _) = lines(2);
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    text.truncate(text.len() - 5);
    let fault = verify(Cursor::new(text), &Asked::default()).unwrap_err().to_string();
    assert!(fault.contains("cut in the middle"), "{fault}");
    let mut other = lines.clone();
    other[0] = other[0].replace(&"00".repeat(32), &"22".repeat(32));
    assert!(check(&other, &[]).unwrap_err().contains("starts from"));
}
