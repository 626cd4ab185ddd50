//! `GET /metrics`: what enforcement, gateway and consensus count, in Prometheus' text format. Labels are bounded: no
//! tenant, principal or tool ever becomes one. Needs an API key whose holder may read the operators' tenant.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use only1mcp_consensus::{Handle, Role};
use only1mcp_domain::decide::Action;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::Permission;
use only1mcp_enforcer::{BucketsSnapshot, CallFacts, Enforcer};
use only1mcp_gateway::{Gateway, LATENCY_BUCKETS_MS};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::host::HostClock;
use crate::serve::readiness::{Readiness, clock_offset_ms};
use crate::serve::rotate::Rotation;

/// Where the numbers come from.
#[derive(Clone)]
pub struct Sources {
    pub enforcer: Arc<Enforcer>,
    pub gateway: Gateway,
    pub handle: Handle,
    pub readiness: Readiness,
    /// Where the data folder is encrypted.
    pub rotation: Option<Arc<Rotation>>,
    pub runner: only1mcp_sinks::Runner,
    /// The data folder, for the space left beside it.
    pub folder: PathBuf,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Exposition {
    sources: Sources,
    registry: Arc<Registry>,
}

pub fn router(sources: Sources) -> Router {
    let mut registry = Registry::with_prefix("only1mcp");
    registry.register_collector(Box::new(sources.clone()));
    let exposition = Exposition { sources, registry: Arc::new(registry) };
    Router::new().route("/metrics", get(scrape)).with_state(exposition)
}

async fn scrape(State(exposition): State<Exposition>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorize(&exposition.sources.enforcer, &headers) {
        return refusal.into_response();
    }
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &exposition.registry) {
        Ok(()) => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], prometheus_text(&text)).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// OpenMetrics, as the library writes it, in Prometheus' own format, which every scraper and linter reads: there a
/// counter's description bears the same name as its samples, and there is neither a unit nor an end line.
fn prometheus_text(open_metrics: &str) -> String {
    let counters: std::collections::BTreeSet<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(about), Some(name), Some(rest)) if counters.contains(name) => {
                text.push_str(&format!("# {about} {name}_total {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

fn authorize(enforcer: &Enforcer, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    let bearer =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let unauthenticated = (StatusCode::UNAUTHORIZED, "an API key is needed: Authorization: Bearer …\n");
    let (tenant, principal, key) =
        bearer.and_then(|key| enforcer.authenticate(key, None).ok()).ok_or(unauthenticated)?;
    let facts = CallFacts {
        tenant: TenantId::system(),
        caller_tenant: tenant,
        principal,
        key: Some(key),
        session: None,
        project: None,
        ip: None,
        mfa: false,
        user_agent: String::new(),
        request_id: String::new(),
        tags: std::collections::BTreeMap::new(),
        input_bytes: 0,
    };
    if enforcer.decide(&facts, Action::Administer(&Permission::GlobalRead)).is_allow() {
        Ok(())
    } else {
        Err((StatusCode::FORBIDDEN, "GlobalRead in the tenant `system` is needed\n"))
    }
}

/// Writes one metric after the other.
struct Writer<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Writer<'_> {
    fn family(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        kind: MetricType,
        write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(self.encoder.encode_descriptor(name, help, unit, kind)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, None, MetricType::Counter, |encoder| ConstCounter::new(value).encode(encoder))
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'l str, u64)>,
    ) -> fmt::Result {
        self.family(name, help, None, MetricType::Counter, |mut encoder| {
            for (value, count) in values {
                let labels = [(label, value)];
                ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
            }
            Ok(())
        })
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        self.family(name, help, unit, MetricType::Gauge, |encoder| ConstGauge::new(value).encode(encoder))
    }

    /// `scale`: how many of the snapshot's units make one of the metric's.
    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        scale: f64,
        buckets: &BucketsSnapshot,
    ) -> fmt::Result {
        let mut scaled: Vec<(f64, u64)> =
            buckets.counts.iter().map(|(upper, count)| (real(*upper) / scale, *count)).collect();
        scaled.push((f64::INFINITY, buckets.above));
        let count = buckets.counts.iter().map(|(_, count)| count).sum::<u64>() + buckets.above;
        self.family(name, help, unit, MetricType::Histogram, |mut encoder| {
            encoder.encode_histogram::<[(&str, &str); 0]>(real(buckets.sum) / scale, count, &scaled, None)
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counters beyond 2^53 lose their last digits in a display")]
fn real(value: u64) -> f64 {
    value as f64
}

fn tally(count: usize) -> f64 {
    real(u64::try_from(count).unwrap_or(u64::MAX))
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer { encoder };
        self.decisions(&mut writer)?;
        self.calls(&mut writer)?;
        self.webhooks(&mut writer)?;
        if let Some(rotation) = &self.rotation {
            keys(rotation, &mut writer)?;
        }
        self.raft(&mut writer)
    }
}

/// Keys are told by age, never by name.
fn keys(rotation: &Rotation, writer: &mut Writer<'_>) -> fmt::Result {
    let (made_ms, now_ms) = (rotation.counted().made_ms(), HostClock.now_ms());
    let age_s = |ms: u64| real(now_ms.saturating_sub(ms)) / 1e3;
    writer.gauge(
        "data_keys",
        "Data keys of this node, those that only open among them",
        None,
        tally(made_ms.len()),
    )?;
    let sealing = made_ms.get(&rotation.sealing_key()).copied().unwrap_or(now_ms);
    let help = "Age of the data key that seals";
    writer.gauge("data_key_age", help, Some(&Unit::Seconds), age_s(sealing))?;
    let oldest = made_ms.values().copied().min().unwrap_or(now_ms);
    let help = "Age of the oldest data key that something may still lie under";
    writer.gauge("data_key_oldest_age", help, Some(&Unit::Seconds), age_s(oldest))?;
    let counted = rotation.counted();
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    writer.counter("data_keys_made", "New data keys since the start", count(&counted.rotated))?;
    writer.counter("keys_rewrapped", "Times all keys were wrapped anew", count(&counted.rewrapped))?;
    writer.counter("keys_not_renewed", "Times keys were due and could not be had", count(&counted.failed))?;
    let told = rotation.progress().told();
    writer.counter("data_keys_dropped", "Data keys that nothing named any more", told.dropped)?;
    writer.counter("resealed_bytes", "Bytes sealed again under a newer data key", told.bytes)?;
    writer.counter(
        "reseal_rounds",
        "Times all was looked through for what lies under older keys",
        told.rounds,
    )?;
    let help = "1 while what lies under older data keys is sealed again";
    writer.gauge("reseal_under_way", help, None, real(u64::from(told.under_way)))
}

impl Sources {
    fn decisions(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let metrics = self.enforcer.metrics().snapshot();
        let denied: u64 = metrics.denied.values().sum();
        let outcomes = [("allow", metrics.allowed), ("deny", denied)];
        writer.counters("decisions", "Decisions on calls", "outcome", outcomes.into_iter())?;
        let reasons = metrics.denied.iter().map(|(reason, count)| (reason.code(), *count));
        writer.counters("denials", "Refusals by reason", "reason", reasons)?;
        writer.counter("unauthenticated", "Requests without valid credentials", metrics.unauthenticated)?;
        writer.counter(
            "revoked_in_flight",
            "Calls whose authority was withdrawn while they ran",
            metrics.revoked_in_flight,
        )?;
        let help = "Contradictions found in what is lent and spent: defects of this program";
        writer.counter("ledger_broken", help, metrics.ledger_broken)?;
        let records = &metrics.batch_records;
        writer.histogram("batch_records", "Records in one activity batch", None, 1.0, records)?;
        let help = "From an admission to its being applied on this node";
        writer.histogram("commit", help, Some(&Unit::Seconds), 1e6, &metrics.commit_us)
    }

    fn calls(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let metrics = self.gateway.metrics();
        writer.counters(
            "calls",
            "Admitted calls by how they ended",
            "outcome",
            metrics.calls.iter().copied(),
        )?;
        let mut counts = LATENCY_BUCKETS_MS.iter().copied().zip(metrics.latency_buckets.iter().copied());
        let latency = BucketsSnapshot {
            counts: counts.by_ref().map(|(upper, count)| (upper * 1_000, count)).collect(),
            above: metrics.latency_buckets.get(LATENCY_BUCKETS_MS.len()).copied().unwrap_or(0),
            sum: metrics.latency_sum_us,
        };
        writer.histogram("call", "Admitted calls, start to end", Some(&Unit::Seconds), 1e6, &latency)?;
        writer.counter("forwarded", "Requests passed on to a session's home node", metrics.forwarded)?;
        writer.counter("sessions_opened", "MCP sessions opened", metrics.sessions_opened)?;
        writer.gauge(
            "sessions_open",
            "MCP sessions with state on this node",
            None,
            real(metrics.sessions_open),
        )?;
        writer.gauge("streams_open", "Event streams being read", None, real(metrics.streams_open))?;
        writer.gauge("requests_in_flight", "Requests being worked on", None, real(metrics.requests_in_flight))
    }

    fn webhooks(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let metrics = self.runner.metrics();
        writer.counter("webhook_deliveries", "Events taken by webhooks", metrics.delivered)?;
        writer.counter("webhook_failures", "Requests to webhooks that failed", metrics.failed)?;
        writer.gauge("webhooks", "Webhooks this node delivers to", None, real(metrics.held))?;
        let failing = "Webhooks this node delivers to whose last request failed";
        writer.gauge("webhooks_failing", failing, None, real(metrics.failing))?;
        let lag = "Audit events since the oldest one that this node is still to deliver";
        writer.gauge("webhook_lag", lag, None, real(metrics.lag))
    }

    fn disk(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let scrubbed = self.handle.scrubbed();
        writer.counter("scrub_rounds", "Times the data folder was read through", scrubbed.rounds)?;
        writer.counter("scrub_bytes", "Bytes read looking for damage", scrubbed.bytes)?;
        writer.counter("scrub_faults", "Damage found by that", scrubbed.faults)?;
        let agreed = "Last index at which most voters were found to have this node's state";
        writer.gauge("state_agreed_index", agreed, None, real(self.handle.agreed_index()))
    }

    fn raft(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let status = self.handle.status();
        let state = self.handle.state();
        writer.gauge("raft_term", "Current Raft term", None, real(status.term))?;
        writer.gauge("raft_leader", "1 on the leader", None, real(u64::from(status.role == Role::Leader)))?;
        writer.gauge("raft_last_log_index", "Last index of this node's log", None, real(status.last_log))?;
        writer.gauge("raft_committed_index", "Last index known committed", None, real(status.committed))?;
        writer.gauge("raft_applied_index", "Last index applied here", None, real(status.applied))?;
        writer.gauge("audit_index", "Last index of the audit chain", None, real(state.chain.index.0))?;
        self.disk(writer)?;
        let (segments, lacking) = self.handle.audit_segments();
        writer.gauge("audit_segments", "Sealed segments of the audit chain", None, tally(segments))?;
        writer.gauge("audit_segments_lacking", "Those this node has to fetch", None, tally(lacking))?;
        let dropped = "Payloads of audit events dropped on this node since it started";
        writer.counter("audit_payloads_dropped", dropped, self.handle.payloads_dropped())?;
        writer.gauge(
            "policy_revision",
            "Revision that decisions are made on",
            None,
            real(state.policy_revision.0),
        )?;
        let age = self.enforcer.freshness().age().map_or(f64::INFINITY, |age| age.as_secs_f64());
        writer.gauge(
            "freshness",
            "Age of the state that decisions are made on",
            Some(&Unit::Seconds),
            age,
        )?;
        let offset = clock_offset_ms(&self.enforcer);
        #[expect(
            clippy::cast_precision_loss,
            reason = "an offset of 2^53 ms is not looked at digit by digit"
        )]
        let offset_s = offset as f64 / 1e3;
        writer.gauge("clock_offset", "This host's clock less log time", Some(&Unit::Seconds), offset_s)?;
        if let Ok(free) = only1mcp_storage::free_bytes(&self.folder) {
            let help = "Space left on the file system of the data folder";
            writer.gauge("disk_free", help, Some(&Unit::Bytes), real(free))?;
        }
        let low = u64::from(self.enforcer.is_disk_low());
        writer.gauge("disk_low", "1 while calls are refused for want of disk space", None, real(low))?;
        let ready = u64::from(self.readiness.why_not().is_none());
        writer.gauge("ready", "1 while the node takes requests", None, real(ready))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_under_the_name_of_their_samples() {
        let open = "# HELP a_calls Calls.\n# TYPE a_calls counter\na_calls_total{x=\"# y\"} 1\n\
                    # HELP b_seconds Age of it.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 0.5\n# EOF\n";
        let text = "# HELP a_calls_total Calls.\n# TYPE a_calls_total counter\na_calls_total{x=\"# y\"} 1\n\
                    # HELP b_seconds Age of it.\n# TYPE b_seconds gauge\nb_seconds 0.5\n";
        assert_eq!(prometheus_text(open), text);
    }
}
