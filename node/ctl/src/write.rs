//! What every write takes and tells: its command id, its condition, how long to wait. A write whose outcome is unknown
//! is sent again under the same id, which is safe, until the time is up.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use only1mcp_proto::admin as pb;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tonic::{Response, Status};
use tonic_types::StatusExt as _;

use super::parse;
use super::session::Session;
use only1mcp_proofs::hex;

/// Pause before the next attempt where the server names none.
const RETRY: Duration = Duration::from_millis(250);

#[derive(Args, Debug, Clone, Copy, Default)]
#[command(next_help_heading = "Write")]
pub(super) struct WriteArgs {
    /// Names this write, so that repeating it is safe: 32 hexadecimal characters; made here when left out.
    #[arg(long, value_parser = parse::command_id)]
    command_id: Option<[u8; 16]>,
    /// Return only when every node has applied it or is fenced.
    #[arg(long)]
    wait: bool,
}

#[derive(Args, Debug, Clone, Copy)]
#[command(next_help_heading = "Write")]
pub(super) struct ConditionalArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// Refuse unless the record stands at this revision.
    #[arg(long)]
    if_revision: Option<u64>,
}

impl WriteArgs {
    pub(super) fn options(self) -> Option<pb::WriteOptions> {
        self.conditional(None)
    }

    /// For another write than the one that a command id was given for.
    pub(super) fn anew(self) -> Self {
        Self { command_id: None, ..self }
    }

    fn conditional(self, if_revision: Option<u64>) -> Option<pb::WriteOptions> {
        let id = self.command_id.unwrap_or_else(|| only1mcp_tls::host::HostEntropy.bytes());
        Some(pb::WriteOptions { command_id: id.to_vec().into(), if_revision, wait: self.wait })
    }
}

impl ConditionalArgs {
    pub(super) fn options(self) -> Option<pb::WriteOptions> {
        self.write.conditional(self.if_revision)
    }

    pub(super) fn has_condition(self) -> bool {
        self.if_revision.is_some()
    }

    /// The condition where none was typed.
    pub(super) fn options_or(self, if_revision: u64) -> Option<pb::WriteOptions> {
        self.write.conditional(self.if_revision.or(Some(if_revision)))
    }
}

impl Session {
    /// Sends a write until its outcome is known or the time is up.
    pub(super) async fn send<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let until = Instant::now() + self.timeout;
        loop {
            let status = match attempt().await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let details = status.get_error_details();
            let Some(retry) = details.retry_info() else { return Err(status) };
            let pause = retry.retry_delay.unwrap_or(RETRY);
            if Instant::now() + pause >= until {
                return Err(status);
            }
            sleep(pause).await;
        }
    }

    /// Tells what became of a write. Errors: `--wait` was asked for and not fulfilled; the write stands.
    pub(super) fn written(
        &self,
        what: &str,
        result: Option<pb::WriteResult>,
        more: Value,
    ) -> anyhow::Result<()> {
        let result = result.context("the server's answer is incomplete")?;
        let mut record = json!({
            "log_index": result.log_index,
            "command_id": hex(&result.command_id),
            "everywhere": result.wait() == pb::write_result::Wait::Everywhere,
        });
        if let (Some(record), Value::Object(more)) = (record.as_object_mut(), more) {
            record.extend(more);
        }
        let waited = match result.wait() {
            pb::write_result::Wait::Everywhere => ", applied on every node",
            pb::write_result::Wait::NotAsked | pb::write_result::Wait::Incomplete => "",
        };
        // A secret stands on a line of its own, below.
        let (what, shown) = what.split_once('\n').map_or((what, None), |(what, shown)| (what, Some(shown)));
        let sentence = format!("{what} (log index {}{waited})", result.log_index);
        let sentence = shown.map_or(sentence.clone(), |shown| format!("{sentence}\n{shown}"));
        self.printer.done(&sentence, &record)?;
        if result.wait() == pb::write_result::Wait::Incomplete {
            anyhow::bail!(
                "it stands at log index {}, but not every node was known to have applied it in time; repeat it with \
                 --wait, --command-id {} and a longer --timeout",
                result.log_index,
                hex(&result.command_id)
            );
        }
        Ok(())
    }
}
