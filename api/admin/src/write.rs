//! One administrative write from request to result: named by its command_id, proposed once, never reported as failed
//! when it may have happened. INVARIANT: P8

use only1mcp_domain::command::{Command, Entry};
use only1mcp_domain::ids::{ApiKeyId, CommandId, Digest, TenantId};
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_domain::secret;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use prost::Message;
use sha3::{Digest as _, Sha3_256};

use crate::authority::Need;
use crate::call::Call;
use crate::core::Core;
use crate::error::{self, AdminError};
use crate::ports::{Committed, Consistency, MembershipFailure, View};

/// A request that changes something.
pub(crate) trait Write: Message + Clone + Default {
    /// Whether `if_revision` means anything for it.
    const CONDITIONAL: bool;

    fn options(&self) -> Option<&pb::WriteOptions>;
    fn set_options(&mut self, options: Option<pb::WriteOptions>);

    /// The id of the secret that its answer shows once, if it shows one.
    fn secret_id(_command: CommandId) -> Option<ApiKeyId> {
        None
    }
}

macro_rules! writes {
    ($($message:ident $conditional:literal $($secret:ident)?;)*) => {$(
        impl Write for pb::$message {
            const CONDITIONAL: bool = $conditional;

            fn options(&self) -> Option<&pb::WriteOptions> {
                self.options.as_ref()
            }

            fn set_options(&mut self, options: Option<pb::WriteOptions>) {
                self.options = options;
            }

            $(fn secret_id(command: CommandId) -> Option<ApiKeyId> {
                Some(secret::$secret(derived(command)))
            })?
        }
    )*};
}

writes! {
    CreateJoinTokenRequest false token_id;
    CreateBackupRequest false;
    RemoveNodeRequest false;
    SetSettingsRequest true;
    PromoteNodeRequest false;
    FinishUpgradeRequest false;
    CreateTenantRequest false;
    UpdateTenantRequest true;
    SetTenantStatusRequest true;
    CreatePrincipalRequest false;
    UpdatePrincipalRequest true;
    DeletePrincipalRequest true;
    CreateKeyRequest false key_id;
    RotateKeyRequest false key_id;
    RevokeKeyRequest false;
    PutRoleRequest true;
    DeleteRoleRequest true;
    CreateGrantRequest false;
    RevokeGrantRequest false;
    PutRestrictionRequest true;
    DeleteRestrictionRequest false;
    PutDenyRequest true;
    DeleteDenyRequest false;
    PutBudgetRequest true;
    DeleteBudgetRequest false;
    ForceCloseRequest false;
    PutWebhookRequest true;
    DeleteWebhookRequest false;
    PutPriceRequest true;
    DeletePriceRequest false;
    PutMeteringRequest true;
    DeleteMeteringRequest false;
    PutDiscountRequest true;
    DeleteDiscountRequest false;
    PutExchangeRateRequest false;
    DeleteExchangeRateRequest false;
    CorrectCostRequest false;
    PutUpstreamRequest true;
    DeleteUpstreamRequest false;
    SetUpstreamEnabledRequest false;
    SetToolEnabledRequest false;
    EraseSubjectRequest false;
    HoldSubjectRequest false;
    RenewErasureRequest false;
    SetRetentionRequest true;
    RunRetentionRequest false;
    ReadKeyTableRequest false;
}

/// What the command of a write is made with.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) command_id: CommandId,
    pub(crate) if_revision: Option<u64>,
    /// Log time, for the times a record carries.
    pub(crate) now: TimestampMs,
    wait: bool,
    request_digest: Digest,
}

impl Draft {
    /// An id for a record that the caller did not name; the same when the write is retried.
    pub(crate) fn generated_id(&self, letter: char) -> String {
        format!("{letter}{}", self.command_id)
    }
}

/// The public part of a secret follows from the command's id, so that a retry speaks of the same one.
pub(crate) fn derived(command: CommandId) -> [u8; 8] {
    let mut hasher = Sha3_256::new();
    hasher.update(b"only1mcp secret id");
    hasher.update(command.0);
    let digest: [u8; 32] = hasher.finalize().into();
    let (head, _) = digest.split_at(8);
    head.try_into().unwrap_or_default()
}

/// How a write's entry reaches the log.
#[derive(Clone, Copy)]
pub(crate) enum Route {
    Propose,
    RemoveNode,
    PromoteNode,
}

impl Core {
    /// Authorizes in `tenant`, builds the command on the newest state, proposes it, and waits as asked.
    pub(crate) async fn write<M: Write>(
        &self,
        call: &Call,
        message: &M,
        tenant: TenantId,
        build: impl FnOnce(&Draft, &View) -> Result<Command, AdminError> + Send,
    ) -> Result<Option<pb::WriteResult>, AdminError> {
        self.write_by(Route::Propose, call, message, tenant, build).await
    }

    pub(crate) async fn write_by<M: Write>(
        &self,
        route: Route,
        call: &Call,
        message: &M,
        tenant: TenantId,
        build: impl FnOnce(&Draft, &View) -> Result<Command, AdminError> + Send,
    ) -> Result<Option<pb::WriteResult>, AdminError> {
        // The newest state: a grant that was answered on another node counts here from then on.
        let view = self.ports.cluster.consistent(Consistency::Linearizable, call.deadline).await?;
        let draft = self.draft(call, message, &view)?;
        if let Some(log_index) = self.replayed::<M>(call, &draft, &view)? {
            return self.finish(call, &draft, log_index).await;
        }
        if !matches!(self.need(call)?, Need::OfCommand(_)) {
            self.authorize(call, &view, &tenant)?;
        }
        let command = match build(&draft, &view) {
            Ok(command) => command,
            // Why it becomes no command is told to those alone who may give such a one.
            Err(error) => return self.authorize(call, &view, &tenant).and(Err(error)),
        };
        self.authorize_command(call, &view, &command)?;
        let entry = Entry {
            actor: call.actor(),
            command_id: Some(draft.command_id),
            request_digest: draft.request_digest,
            observed_at: TimestampMs(self.ports.host.now_ms()),
            command,
            signature: None,
        };
        let committed = self.carry(route, call, entry).await;
        let committed = committed.map_err(|failure| error::membership(failure, draft.command_id))?;
        let log_index = match committed.outcome? {
            Outcome::Done { log_index } => log_index,
            Outcome::NodeRegistered { .. }
            | Outcome::IncarnationOpened { .. }
            | Outcome::BatchApplied { .. }
            | Outcome::BatchDuplicate { .. } => committed.log_index,
        };
        self.finish(call, &draft, log_index).await
    }

    async fn carry(&self, route: Route, call: &Call, entry: Entry) -> Result<Committed, MembershipFailure> {
        let cluster = &self.ports.cluster;
        match route {
            Route::Propose => Ok(cluster.propose(entry, call.deadline).await?),
            Route::RemoveNode => cluster.remove(entry, call.deadline).await,
            Route::PromoteNode => cluster.promote(entry, call.deadline).await,
        }
    }

    fn draft<M: Write>(&self, call: &Call, message: &M, view: &View) -> Result<Draft, AdminError> {
        let options = message.options().cloned().unwrap_or_default();
        if options.if_revision.is_some() && !M::CONDITIONAL {
            return Err(AdminError::invalid("options.if_revision", "means nothing for this write"));
        }
        let command_id = match <[u8; 16]>::try_from(options.command_id.as_ref()) {
            Ok(bytes) => CommandId(bytes),
            Err(_) if options.command_id.is_empty() => self.random_id(),
            Err(_) => return Err(AdminError::invalid("options.command_id", "is not 16 bytes")),
        };
        Ok(Draft {
            command_id,
            if_revision: options.if_revision,
            now: view.now,
            wait: options.wait,
            request_digest: request_digest(call, message, options.if_revision),
        })
    }

    /// What an earlier attempt under the same command_id came to: its log index, or its rejection. The digest names the
    /// caller, so nobody else is told. The same id with another digest is left to `apply`, which refuses it.
    fn replayed<M: Write>(&self, call: &Call, draft: &Draft, view: &View) -> Result<Option<u64>, AdminError> {
        let seen = view.state.commands_seen.get(&draft.command_id);
        let Some(seen) = seen.filter(|seen| seen.request_digest == draft.request_digest) else {
            return Ok(None);
        };
        self.authorize_need(call, view, &call.identity.tenant, &Need::Authenticated)?;
        seen.outcome.clone()?;
        match M::secret_id(draft.command_id) {
            Some(id) => Err(Rejection::SecretNotRecoverable { id: id.to_string() }.into()),
            None => Ok(Some(seen.log_index)),
        }
    }

    async fn finish(
        &self,
        call: &Call,
        draft: &Draft,
        log_index: u64,
    ) -> Result<Option<pb::WriteResult>, AdminError> {
        use pb::write_result::Wait;
        let wait = if !draft.wait {
            Wait::NotAsked
        } else if self.ports.cluster.wait_everywhere(log_index, call.deadline).await {
            Wait::Everywhere
        } else {
            Wait::Incomplete
        };
        let command_id = draft.command_id.0.to_vec().into();
        Ok(Some(pb::WriteResult { log_index, command_id, wait: wait.into() }))
    }
}

/// Digest of what the caller asked for: who, which method, which fields; not how long to wait, nor generated values.
fn request_digest<M: Write>(call: &Call, message: &M, if_revision: Option<u64>) -> Digest {
    let mut asked = message.clone();
    asked.set_options(if_revision.map(|r| pb::WriteOptions { if_revision: Some(r), ..Default::default() }));
    let mut hasher = Sha3_256::new();
    for part in [call.method, call.identity.tenant.as_str(), call.identity.principal.as_str()] {
        hasher.update([0]);
        hasher.update(part.as_bytes());
    }
    hasher.update([0]);
    hasher.update(asked.encode_to_vec());
    Digest(hasher.finalize().into())
}
