//! `ctl upstream`.

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args, Subcommand};
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use serde_json::{Value, json};

use super::error;
use super::parse::{duration_ms, duration_text, pair, time_text};
use super::session::Session;
use super::write::{ConditionalArgs, WriteArgs};

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Registers an MCP server; its tools appear as ID__tool.
    Add(Box<AddArgs>),
    /// The tenant's own upstreams and the shared ones it is offered.
    List {
        #[arg(long, default_value = "")]
        tenant: String,
    },
    /// One upstream, without its secrets.
    Show(Which),
    Remove {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Offers a disabled upstream again.
    Enable {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Refuses every call to it.
    Disable {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Offers a disabled tool again.
    ToolEnable {
        #[command(flatten)]
        which: Which,
        /// The tool's own name.
        tool: String,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Refuses every call to one tool.
    ToolDisable {
        #[command(flatten)]
        which: Which,
        /// The tool's own name.
        tool: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

#[derive(Args, Debug)]
pub(super) struct Which {
    id: String,
    /// Your own where left out; `system` for shared ones.
    #[arg(long, default_value = "")]
    tenant: String,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("transport").required(true))]
pub(super) struct AddArgs {
    #[command(flatten)]
    which: Which,
    /// Streamable HTTP address.
    #[arg(long, group = "transport")]
    url: Option<String>,
    /// Program to start on the node that serves a session; operators only.
    #[arg(long, group = "transport")]
    command: Option<String>,
    /// Argument of the program. May be repeated.
    #[arg(long, requires = "command", allow_hyphen_values = true)]
    arg: Vec<String>,
    /// Environment entry of the program. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, requires = "command")]
    env: Vec<(String, String)>,
    /// Environment entry whose value this command has in its own environment. May be repeated.
    #[arg(long, value_name = "NAME", requires = "command")]
    env_from: Vec<String>,
    /// Header for every request; its value is a secret and never shown again. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    header: Vec<(String, String)>,
    /// Header whose value stands in the named environment variable of this command. May be repeated.
    #[arg(long, value_name = "NAME=VARIABLE", value_parser = pair)]
    header_env: Vec<(String, String)>,
    #[arg(long, default_value = "")]
    description: String,
    /// One upstream session a node serves everybody: only for servers that keep no state of their callers.
    #[arg(long)]
    shared_stateless: bool,
    /// Calls in flight per node.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    concurrency: u32,
    /// How long one call may take, as 60s.
    #[arg(long, value_parser = duration_ms)]
    call_timeout: Option<u64>,
    /// Registers it without offering it yet.
    #[arg(long)]
    disabled: bool,
    /// Replaces an upstream of that id.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    write: ConditionalArgs,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Add(args) => add(session, *args).await,
        Command::List { tenant } => list(session, tenant).await,
        Command::Show(which) => {
            let (consistency, tenant, upstream) = (session.consistency(), which.tenant, which.id);
            let request = pb::GetUpstreamRequest { consistency, tenant, upstream };
            let answer = session.upstreams().get_upstream(request).await?.into_inner();
            session.printer.record(&shown(&answer.record.context("the server's answer is incomplete")?))
        }
        Command::Remove { which, write } => {
            let Which { id, tenant } = which;
            let request =
                pb::DeleteUpstreamRequest { options: write.options(), tenant, upstream: id.clone() };
            let send = || async { session.upstreams().delete_upstream(request.clone()).await };
            let result = session.send(send).await?.result;
            session.written(&format!("upstream {id} is removed"), result, json!({"upstream": id}))
        }
        Command::Enable { which, write } => set_enabled(session, which, true, write).await,
        Command::Disable { which, write } => set_enabled(session, which, false, write).await,
        Command::ToolEnable { which, tool, write } => set_tool(session, which, tool, true, write).await,
        Command::ToolDisable { which, tool, write } => set_tool(session, which, tool, false, write).await,
    }
}

fn from_environment(variable: &str) -> anyhow::Result<String> {
    std::env::var(variable).with_context(|| format!("cannot read the environment variable {variable}"))
}

impl AddArgs {
    fn transport(&self) -> anyhow::Result<m::Transport> {
        use m::transport::Kind;
        let kind = match (&self.url, &self.command) {
            (Some(url), _) => Kind::Http(m::HttpTransport { url: url.clone() }),
            (None, command) => {
                let entry = |name: &String, value: String| m::EnvironmentVariable {
                    name: name.clone(),
                    value: Some(value),
                };
                let mut env: Vec<_> =
                    self.env.iter().map(|(name, value)| entry(name, value.clone())).collect();
                for name in &self.env_from {
                    env.push(entry(name, from_environment(name)?));
                }
                Kind::Stdio(m::StdioTransport {
                    command: command.clone().unwrap_or_default(),
                    args: self.arg.clone(),
                    env,
                })
            }
        };
        Ok(m::Transport { kind: Some(kind) })
    }

    fn headers(&self) -> anyhow::Result<Vec<m::HeaderSecret>> {
        let header =
            |name: &String, value: String| m::HeaderSecret { name: name.clone(), value: Some(value) };
        let mut headers: Vec<_> =
            self.header.iter().map(|(name, value)| header(name, value.clone())).collect();
        for (name, variable) in &self.header_env {
            headers.push(header(name, from_environment(variable)?));
        }
        Ok(headers)
    }
}

async fn add(session: &Session, args: AddArgs) -> anyhow::Result<()> {
    let mode =
        if args.shared_stateless { m::SessionMode::SharedStateless } else { m::SessionMode::PerSession };
    let upstream = m::Upstream {
        tenant: args.which.tenant.clone(),
        id: args.which.id.clone(),
        description: args.description.clone(),
        transport: Some(args.transport()?),
        session_mode: mode.into(),
        headers: args.headers()?,
        enabled: !args.disabled,
        concurrency_max: args.concurrency,
        call_timeout_ms: args.call_timeout.unwrap_or_default(),
        ..Default::default()
    };
    // Revision 0: there must be none of that id yet.
    let must_be_new = !args.replace && !args.write.has_condition();
    let options = if must_be_new { args.write.options_or(0) } else { args.write.options() };
    let request = pb::PutUpstreamRequest { options, upstream: Some(upstream) };
    let send = || async { session.upstreams().put_upstream(request.clone()).await };
    let id = args.which.id;
    let result = match session.send(send).await {
        Err(status) if must_be_new && error::code(&status) == "REVISION_MISMATCH" => {
            bail!("there is an upstream {id} already; --replace replaces it")
        }
        sent => sent?.result,
    };
    session.written(&format!("upstream {id} is registered"), result, json!({"upstream": id}))
}

async fn set_enabled(session: &Session, which: Which, enabled: bool, write: WriteArgs) -> anyhow::Result<()> {
    let Which { id, tenant } = which;
    let options = write.options();
    let request = pb::SetUpstreamEnabledRequest { options, tenant, upstream: id.clone(), enabled };
    let send = || async { session.upstreams().set_upstream_enabled(request.clone()).await };
    let result = session.send(send).await?.result;
    let state = if enabled { "enabled" } else { "disabled" };
    session.written(&format!("upstream {id} is {state}"), result, json!({"upstream": id, "enabled": enabled}))
}

async fn set_tool(
    session: &Session,
    which: Which,
    tool: String,
    enabled: bool,
    write: WriteArgs,
) -> anyhow::Result<()> {
    let Which { id, tenant } = which;
    let (options, upstream) = (write.options(), id.clone());
    let request = pb::SetToolEnabledRequest { options, tenant, upstream, tool: tool.clone(), enabled };
    let send = || async { session.upstreams().set_tool_enabled(request.clone()).await };
    let result = session.send(send).await?.result;
    let state = if enabled { "enabled" } else { "disabled" };
    let record = json!({"upstream": id, "tool": tool, "enabled": enabled});
    session.written(&format!("tool {id}__{tool} is {state}"), result, record)
}

async fn list(session: &Session, tenant: String) -> anyhow::Result<()> {
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let consistency = session.consistency();
        let request =
            pb::ListUpstreamsRequest { consistency, tenant: tenant.clone(), page_size: 500, page_token };
        let page = session.upstreams().list_upstreams(request).await?.into_inner();
        records.extend(page.records.iter().map(shown));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let columns = [
        ("ID", "id"),
        ("OWNER", "tenant"),
        ("TARGET", "target"),
        ("SESSIONS", "session_mode"),
        ("ENABLED", "enabled"),
        ("DISABLED TOOLS", "disabled_tools"),
        ("HEALTH", "health_status"),
        ("TOOLS", "tools"),
        ("DETAIL", "health_detail"),
    ];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::UpstreamRecord) -> Value {
    use m::transport::Kind;
    let Some(upstream) = &record.upstream else { return Value::Null };
    let (target, environment) =
        match upstream.transport.as_ref().and_then(|transport| transport.kind.as_ref()) {
            None => (String::new(), Vec::new()),
            Some(Kind::Http(http)) => (http.url.clone(), Vec::new()),
            Some(Kind::Stdio(stdio)) => {
                let words: Vec<&str> = std::iter::once(stdio.command.as_str())
                    .chain(stdio.args.iter().map(String::as_str))
                    .collect();
                (words.join(" "), stdio.env.iter().map(|entry| entry.name.clone()).collect())
            }
        };
    let mode = match upstream.session_mode() {
        m::SessionMode::Unspecified => "unspecified",
        m::SessionMode::PerSession => "per_session",
        m::SessionMode::SharedStateless => "shared_stateless",
    };
    let health = record.health.as_ref();
    json!({
        "tenant": upstream.tenant,
        "id": upstream.id,
        "description": upstream.description,
        "target": target,
        "environment_names": environment,
        "header_names": upstream.headers.iter().map(|header| header.name.clone()).collect::<Vec<_>>(),
        "session_mode": mode,
        "enabled": upstream.enabled,
        "disabled_tools": upstream.disabled_tools,
        "concurrency_max": upstream.concurrency_max,
        "call_timeout": duration_text(upstream.call_timeout_ms),
        "health_status": health.map(|health| health.status.clone()),
        "health_detail": health.map(|health| health.detail.clone()),
        "health_since": health.and_then(|health| health.since_ms).map(time_text),
        "tools": health.map(|health| health.tools),
        "in_flight": health.map(|health| health.in_flight),
        "created_at": time_text(upstream.created_at_ms),
        "updated_at": time_text(upstream.updated_at_ms),
        "revision": record.revision,
    })
}
