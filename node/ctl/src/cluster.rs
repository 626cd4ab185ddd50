//! `ctl cluster`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use only1mcp_proto::admin as pb;
use pb::watch_configuration_response::Kind;
use serde_json::{Value, json};

use super::cluster_replace;
use super::output::line;
use super::parse::{duration_ms, duration_text, time_text};
use super::session::Session;
use super::write::{ConditionalArgs, WriteArgs};
use only1mcp_proofs::hex;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Members, leader, indexes, freshness, disk, clocks, as the asked node sees them.
    Status,
    /// Makes a token that lets one node join; shown once.
    JoinToken {
        /// How long it is good for.
        #[arg(long, value_parser = duration_ms, default_value = "1h")]
        ttl: u64,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Takes a node out for good and bars its certificate.
    Remove {
        node: u64,
        /// Although it has not handed in its journal: what only its disk knew is lost, which is recorded.
        #[arg(long)]
        lose_journal: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Hands leadership to a voter.
    Transfer { node: u64 },
    /// Makes a learner a voter.
    Promote {
        node: u64,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Takes out a node that is dead for good, with what only its disk knew, and makes the token for its successor, which
    /// joins under a new name.
    Replace(cluster_replace::Args),
    /// Moving to a new version: when every node runs it, `finish` makes it binding.
    #[command(subcommand)]
    Upgrade(Upgrade),
    /// Settings that are equal on every node.
    #[command(subcommand)]
    Settings(Settings),
    /// Tells which records change, until stopped.
    Watch {
        /// Changes after this log index; 0: everything there is, first.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Only this tenant's records.
        #[arg(long, default_value = "")]
        tenant: String,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Settings {
    Show,
    /// Changes those that are named.
    Set(Box<SetArgs>),
}

#[derive(Subcommand, Debug)]
pub(super) enum Upgrade {
    /// Raises the feature level to the newest that all nodes know. No older version can take part from then on.
    Finish {
        #[command(flatten)]
        write: WriteArgs,
    },
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(super) enum Preset {
    /// Nodes in one region: a failover takes two seconds.
    Near,
    /// Voters 80 to 200 ms apart and back: a failover takes six.
    Regions,
}

impl Preset {
    /// Units: milliseconds. Heartbeat, shortest and longest election, staleness.
    fn times(self) -> [u64; 4] {
        match self {
            Self::Near => [100, 500, 1_000, 2_000],
            Self::Regions => [300, 1_500, 3_000, 5_000],
        }
    }
}

#[derive(Args, Debug)]
pub(super) struct SetArgs {
    /// All times together; those named besides win.
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    #[arg(long)]
    heartbeat_ms: Option<u64>,
    #[arg(long)]
    election_ms_min: Option<u64>,
    #[arg(long)]
    election_ms_max: Option<u64>,
    /// How old the state may be on which a call is admitted.
    #[arg(long)]
    staleness_ms_max: Option<u64>,
    #[arg(long)]
    stale_wait_ms_max: Option<u64>,
    #[arg(long)]
    feature_level: Option<u32>,
    /// How long a member must have kept up before it is made a voter, or a leader by preference.
    #[arg(long)]
    stable_ms: Option<u64>,
    /// Where the leader should be; empty: anywhere.
    #[arg(long)]
    leader_region: Option<String>,
    #[arg(long)]
    leader_zone: Option<String>,
    #[arg(long)]
    cluster_name: Option<String>,
    #[command(flatten)]
    write: ConditionalArgs,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Status => status(session).await,
        Command::JoinToken { ttl, write } => join_token(session, ttl, write).await,
        Command::Remove { node, lose_journal, write } => {
            let request = pb::RemoveNodeRequest { options: write.options(), node, lose_journal };
            let send = || async { session.cluster().remove_node(request.clone()).await };
            session.written(
                &format!("node {node} is removed"),
                session.send(send).await?.result,
                json!({"node": node}),
            )
        }
        Command::Transfer { node } => {
            let answer =
                session.cluster().transfer_leader(pb::TransferLeaderRequest { node }).await?.into_inner();
            session.printer.done(&format!("node {} leads", answer.leader), &json!({"leader": answer.leader}))
        }
        Command::Promote { node, write } => {
            let request = pb::PromoteNodeRequest { options: write.options(), node };
            let send = || async { session.cluster().promote_node(request.clone()).await };
            session.written(
                &format!("node {node} is a voter"),
                session.send(send).await?.result,
                json!({"node": node}),
            )
        }
        Command::Replace(args) => cluster_replace::run(session, args).await,
        Command::Upgrade(Upgrade::Finish { write }) => finish_upgrade(session, write).await,
        Command::Settings(Settings::Show) => show_settings(session).await,
        Command::Settings(Settings::Set(args)) => set_settings(session, *args).await,
        Command::Watch { from, tenant } => watch(session, from, tenant).await,
    }
}

async fn status(session: &Session) -> anyhow::Result<()> {
    let answer = session.cluster().status(pb::StatusRequest {}).await?.into_inner();
    let members: Vec<Value> = answer.members.iter().map(member).collect();
    if !session.printer.is_table() {
        return session.printer.record(&json!({
            "cluster_id": hex(&answer.cluster_id),
            "cluster_name": answer.cluster_name,
            "epoch": answer.epoch,
            "node": answer.node,
            "leader": answer.leader,
            "term": answer.term,
            "applied_index": answer.applied_index,
            "committed_index": answer.committed_index,
            "log_time": time_text(answer.log_time_ms),
            "audit_index": answer.audit_index,
            "audit_hash": hex(&answer.audit_hash),
            "policy_revision": answer.policy_revision,
            "feature_level": answer.feature_level,
            "agreed_index": answer.agreed_index,
            "scrub": answer.scrub.as_ref().map(|scrub| json!({
                "rounds": scrub.rounds, "bytes": scrub.bytes, "faults": scrub.faults, "part": scrub.part,
            })),
            "members": members,
        }));
    }
    let leader = answer.leader.map_or_else(|| "none known".to_owned(), |leader| format!("node {leader}"));
    line(&format!("cluster {} ({}), epoch {}", answer.cluster_name, hex(&answer.cluster_id), answer.epoch))?;
    line(&format!(
        "leader {leader}, term {}, applied {}, committed {}, policy revision {}, audit index {}; as node {} sees it",
        answer.term,
        answer.applied_index,
        answer.committed_index,
        answer.policy_revision,
        answer.audit_index,
        answer.node
    ))?;
    let columns = [
        ("ID", "id"),
        ("NAME", "name"),
        ("ROLE", "role"),
        ("LEADER", "leader"),
        ("REGION", "region"),
        ("ZONE", "zone"),
        ("REACHABLE", "reachable"),
        ("APPLIED", "applied_index"),
        ("LAG", "lag_entries"),
        ("FRESH", "freshness"),
        ("DISK FREE", "disk_free"),
        ("CLOCK", "clock_offset"),
        ("VERSION", "version"),
        ("LEVEL", "feature_level_max"),
    ];
    session.printer.list(&columns, members)
}

fn member(member: &pb::MemberStatus) -> Value {
    json!({
        "id": member.id,
        "name": member.name,
        "role": member.role,
        "leader": member.leader,
        "region": member.region,
        "zone": member.zone,
        "reachable": member.reachable,
        "applied_index": member.applied_index,
        "lag_entries": member.lag_entries,
        "freshness": member.freshness_ms.map(duration_text),
        "freshness_ms": member.freshness_ms,
        "disk_free": member.disk_free_bytes.map(|bytes| format!("{} MiB", bytes >> 20)),
        "disk_free_bytes": member.disk_free_bytes,
        "clock_offset": member.clock_offset_ms.map(|ms| format!("{ms:+}ms")),
        "clock_offset_ms": member.clock_offset_ms,
        "version": member.version,
        "feature_level_max": member.feature_level_max,
        "timed": member.timed,
        "peer_address": member.peer_address,
        "admin_address": member.admin_address,
        "http_address": member.http_address,
        "joined_at": time_text(member.joined_at_ms),
    })
}

async fn join_token(session: &Session, ttl_ms: u64, write: WriteArgs) -> anyhow::Result<()> {
    let request = pb::CreateJoinTokenRequest { options: write.options(), ttl_ms };
    let send = || async { session.cluster().create_join_token(request.clone()).await };
    let answer = session.send(send).await?;
    let until = time_text(answer.expires_at_ms);
    let record = json!({"token_id": answer.token_id, "token": answer.token, "expires_at": until});
    session.written(
        &format!("a join token good until {until} is made and shown this once\n{}", answer.token),
        answer.result,
        record,
    )
}

async fn finish_upgrade(session: &Session, write: WriteArgs) -> anyhow::Result<()> {
    let request = pb::FinishUpgradeRequest { options: write.options() };
    let send = || async { session.cluster().finish_upgrade(request.clone()).await };
    let answer = session.send(send).await?;
    let text = format!("the cluster is at feature level {}", answer.feature_level);
    session.written(&text, answer.result, json!({"feature_level": answer.feature_level}))
}

async fn settings(session: &Session) -> anyhow::Result<pb::GetSettingsResponse> {
    let request = pb::GetSettingsRequest { consistency: session.consistency() };
    Ok(session.cluster().get_settings(request).await?.into_inner())
}

async fn show_settings(session: &Session) -> anyhow::Result<()> {
    let answer = settings(session).await?;
    let settings = answer.settings.context("the server's answer is incomplete")?;
    session.printer.record(&json!({
        "cluster_name": settings.cluster_name,
        "heartbeat_ms": settings.heartbeat_ms,
        "election_ms_min": settings.election_ms_min,
        "election_ms_max": settings.election_ms_max,
        "staleness_ms_max": settings.staleness_ms_max,
        "stale_wait_ms_max": settings.stale_wait_ms_max,
        "feature_level": settings.feature_level,
        "stable_ms": if settings.stable_ms == 0 { only1mcp_domain::limits::STABLE_MS_DEFAULT } else { settings.stable_ms },
        "leader_region": settings.leader_region,
        "leader_zone": settings.leader_zone,
        "revision": answer.revision,
    }))
}

async fn set_settings(session: &Session, args: SetArgs) -> anyhow::Result<()> {
    let present = settings(session).await?;
    let mut settings = present.settings.context("the server's answer is incomplete")?;
    if let Some([heartbeat_ms, election_ms_min, election_ms_max, staleness_ms_max]) =
        args.preset.map(Preset::times)
    {
        (settings.heartbeat_ms, settings.election_ms_min) = (heartbeat_ms, election_ms_min);
        (settings.election_ms_max, settings.staleness_ms_max) = (election_ms_max, staleness_ms_max);
    }
    macro_rules! take {
        ($($field:ident)*) => {$(if let Some(value) = args.$field { settings.$field = value; })*};
    }
    take! { heartbeat_ms election_ms_min election_ms_max staleness_ms_max stale_wait_ms_max feature_level cluster_name stable_ms leader_region leader_zone }
    let options = args.write.options_or(present.revision);
    let request = pb::SetSettingsRequest { options, settings: Some(settings) };
    let send = || async { session.cluster().set_settings(request.clone()).await };
    session.written("the settings are changed", session.send(send).await?.result, json!({}))
}

async fn watch(session: &Session, from_revision: u64, tenant: String) -> anyhow::Result<()> {
    let mut request = tonic::Request::new(pb::WatchConfigurationRequest { from_revision, tenant });
    super::audit::without_deadline(&mut request);
    let mut changes = session.cluster().watch_configuration(request).await?.into_inner();
    while let Some(change) = changes.message().await? {
        let kind = match change.kind() {
            Kind::Reset => "reset",
            Kind::Tenant => "tenant",
            Kind::Principal => "principal",
            Kind::ApiKey => "api_key",
            Kind::Role => "role",
            Kind::Grant => "grant",
            Kind::Restriction => "restriction",
            Kind::Deny => "deny",
            Kind::Upstream => "upstream",
            Kind::Node => "node",
            Kind::Settings => "settings",
            Kind::Synced => "synced",
        };
        let record = json!({
            "kind": kind, "log_index": change.log_index, "tenant": change.tenant, "id": change.id,
            "revision": change.revision, "deleted": change.deleted,
        });
        let text = || match change.kind() {
            Kind::Reset => "everything there is:".to_owned(),
            Kind::Synced => format!("up to date at log index {}", change.log_index),
            _ if change.deleted => format!("{kind} {}/{} is deleted", change.tenant, change.id),
            _ => format!("{kind} {}/{} at revision {}", change.tenant, change.id, change.revision),
        };
        session.printer.event(text, &record)?;
    }
    Ok(())
}
