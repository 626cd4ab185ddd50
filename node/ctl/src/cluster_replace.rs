//! `ctl cluster replace`: a dead node out, and a token for the one that takes its place.

use anyhow::Context as _;
use only1mcp_proto::admin as pb;
use serde_json::json;

use super::parse::{duration_ms, time_text};
use super::session::Session;
use super::write::WriteArgs;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The dead node.
    node: u64,
    /// How long the successor's join token is good for.
    #[arg(long, value_parser = duration_ms, default_value = "1h")]
    ttl: u64,
    /// Although the node answers: one that works can be told to leave, and then nothing is lost.
    #[arg(long)]
    although_it_answers: bool,
}

/// First out, then in: four voters of which one is dead bear the loss of no more than three of which one is, and
/// three that all live bear one.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let status = session.cluster().status(pb::StatusRequest {}).await?.into_inner();
    let member = status.members.iter().find(|member| member.id == args.node && member.role != "removed");
    let member = member.with_context(|| format!("node {} is no member", args.node))?;
    anyhow::ensure!(
        member.reachable != Some(true) || args.although_it_answers,
        "node {} answers: let it leave (`only1mcp leave` on its host), or say --although-it-answers",
        args.node
    );
    let write = WriteArgs::default();
    let request = pb::CreateJoinTokenRequest { options: write.options(), ttl_ms: args.ttl };
    let send = || async { session.cluster().create_join_token(request.clone()).await };
    let token = session.send(send).await?;
    let write = WriteArgs::default();
    let request = pb::RemoveNodeRequest { options: write.options(), node: args.node, lose_journal: true };
    let send = || async { session.cluster().remove_node(request.clone()).await };
    let removed = session.send(send).await?;
    let until = time_text(token.expires_at_ms);
    let text = format!(
        "node {} is removed, and its name is barred; its successor joins under a new name with this token, good until \
         {until} and shown this once\n{}",
        args.node, token.token
    );
    let record = json!({
        "node": args.node, "token_id": token.token_id, "token": token.token, "expires_at": until,
    });
    session.written(&text, removed.result, record)
}
