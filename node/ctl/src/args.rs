//! What can be typed after `only1mcp ctl`, and where it goes.

use std::pin::Pin;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::Output;
use super::session::{Connection, Session};
use super::{
    audit, backup, budget, cluster, cost, decide, deny, error, grant, key, price, principal, restriction,
    role, subject, tenant, upstream, webhook, whoami,
};

/// Administer a cluster.
#[derive(Args, Debug)]
pub struct CtlArgs {
    #[command(flatten)]
    connection: Connection,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Connection")]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Members, join tokens, settings.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Tenants: the boundaries of isolation.
    #[command(subcommand)]
    Tenant(Box<tenant::Command>),
    /// Persons and service accounts.
    #[command(subcommand)]
    Principal(principal::Command),
    /// Persons' data: what is known of it, its export and its end.
    #[command(subcommand)]
    Subject(subject::Command),
    /// Generations of the keys that persons' data is sealed under.
    #[command(subcommand)]
    Erasure(subject::ErasureCommand),
    /// API keys.
    #[command(subcommand)]
    Key(key::Command),
    /// Roles: what may be done.
    #[command(subcommand)]
    Role(role::Command),
    /// Grants: who has which role.
    #[command(subcommand)]
    Grant(grant::Command),
    /// Tool restrictions: tools for members of certain roles only.
    #[command(subcommand)]
    Restriction(restriction::Command),
    /// Explicit denies, which win over everything.
    #[command(subcommand)]
    Deny(deny::Command),
    /// Budgets, and what is used of every limit that counts.
    #[command(subcommand)]
    Budget(budget::Command),
    /// Addresses that are told what happens to budgets.
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// What calls cost: prices, metering, discounts, exchange rates.
    #[command(subcommand)]
    Price(price::Command),
    /// What was charged: reports, records, corrections.
    #[command(subcommand)]
    Cost(Box<cost::Command>),
    /// MCP servers behind the gateway.
    #[command(subcommand)]
    Upstream(upstream::Command),
    /// Ask what would be decided, and why.
    #[command(subcommand)]
    Decide(decide::Command),
    /// The audit trail.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Backups of the whole cluster, in a folder.
    #[command(subcommand)]
    Backup(backup::Command),
    /// Who these credentials are.
    Whoami,
}

/// Runs one command; success only when it did what was asked. Boxed: code of a future is made where its type is known to
/// the runtime, here and once instead of in the binary and for each kind of runtime.
pub fn run(args: CtlArgs) -> Pin<Box<dyn Future<Output = ExitCode>>> {
    Box::pin(async move {
        match dispatch(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                error::print(&failure);
                ExitCode::FAILURE
            }
        }
    })
}

async fn dispatch(args: CtlArgs) -> anyhow::Result<()> {
    let command = match args.command {
        // Some of it needs no server, and some another node.
        Command::Backup(command) => {
            return Box::pin(backup::run(&args.connection, args.output, command)).await;
        }
        command => command,
    };
    let session = Session::open(&args.connection, args.output).await?;
    match command {
        Command::Backup(_) => Ok(()),
        Command::Cluster(command) => cluster::run(&session, command).await,
        Command::Tenant(command) => Box::pin(tenant::run(&session, *command)).await,
        Command::Principal(command) => principal::run(&session, command).await,
        Command::Subject(command) => Box::pin(subject::run(&session, command)).await,
        Command::Erasure(command) => subject::run_erasure(&session, command).await,
        Command::Key(command) => key::run(&session, command).await,
        Command::Role(command) => role::run(&session, command).await,
        Command::Grant(command) => grant::run(&session, command).await,
        Command::Restriction(command) => restriction::run(&session, command).await,
        Command::Deny(command) => deny::run(&session, command).await,
        Command::Budget(command) => Box::pin(budget::run(&session, command)).await,
        Command::Webhook(command) => Box::pin(webhook::run(&session, command)).await,
        Command::Price(command) => Box::pin(price::run(&session, command)).await,
        Command::Cost(command) => Box::pin(cost::run(&session, *command)).await,
        Command::Upstream(command) => Box::pin(upstream::run(&session, command)).await,
        Command::Decide(command) => decide::run(&session, command).await,
        Command::Audit(command) => audit::run(&session, command).await,
        Command::Whoami => whoami::run(&session).await,
    }
}
