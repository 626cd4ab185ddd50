//! Entries, one of each command.

use only1mcp_domain::command::{Actor, Command, Entry, FormCluster, RegisterNode, Secret32, Signed, Via};
use only1mcp_domain::ids::{CommandId, McpSessionId, PublicKey};

use crate::gen_model::HIDDEN;
use crate::random::Gen;

impl Gen {
    fn actor(&mut self) -> Actor {
        let node = self.node_id();
        Actor {
            tenant: self.tenant_id(),
            principal: self.principal_id(),
            key: self.option(Gen::key_id),
            via: self.pick(&[Via::ApiKey, Via::ClientCertificate, Via::LocalSocket, Via::Node(node)]),
            ip: self.option(Gen::ip),
            user_agent: self.text(),
            personal: None,
            request_id: self.text(),
        }
    }

    pub fn secret(&mut self) -> Secret32 {
        let mut secret = self.raw::<32>();
        secret[..HIDDEN.len()].copy_from_slice(HIDDEN.as_bytes());
        Secret32(secret)
    }

    pub fn register_node(&mut self) -> RegisterNode {
        RegisterNode {
            token: self.option(Gen::key_id),
            name: self.text(),
            peer_address: self.text(),
            admin_address: self.text(),
            http_address: self.text(),
            region: self.text(),
            zone: self.text(),
            version: self.text(),
        }
    }

    fn signed(&mut self) -> Signed {
        let halves = [self.digest().0, self.digest().0].concat();
        Signed { node: self.node_id(), content: self.digest(), signature: halves.try_into().unwrap() }
    }

    fn revision(&mut self) -> Option<u64> {
        self.option(Gen::number)
    }

    /// One entry of each command. A golden file's bytes depend on the entries before it, and all commands of one list
    /// are made before its entries: add new ones as a list at the end.
    pub fn entries(&mut self) -> Vec<Entry> {
        let commands = self.commands();
        let mut entries: Vec<Entry> = commands.into_iter().map(|command| self.entry(command)).collect();
        let commands = self.ledger_commands();
        entries.extend(commands.into_iter().map(|command| self.entry(command)));
        let commands = self.cost_commands();
        entries.extend(commands.into_iter().map(|command| self.entry(command)));
        let mut apart = self.apart(129);
        entries.extend(self.webhook_commands().into_iter().map(|command| apart.entry(command)));
        let mut apart = self.apart(50);
        let correction = apart.correction();
        entries.push(apart.entry(correction));
        let mut apart = self.apart(150);
        entries.extend(self.epoch_commands().into_iter().map(|command| apart.entry(command)));
        let mut apart = self.apart(180);
        let command = Command::SetSigningKey { node: apart.node_id(), key: PublicKey(apart.digest().0) };
        let entry = apart.entry(command);
        entries.push(Entry { signature: apart.option(Gen::signed), ..entry });
        entries.extend(self.subject_entries());
        let mut apart = self.apart(223);
        entries.extend(self.retention_commands().into_iter().map(|command| apart.entry(command)));
        entries
    }

    pub fn entry(&mut self, command: Command) -> Entry {
        Entry {
            actor: self.actor(),
            command_id: self.option(|g| CommandId(g.raw())),
            request_digest: self.digest(),
            observed_at: self.time(),
            command,
            signature: None,
        }
    }

    fn commands(&mut self) -> Vec<Command> {
        vec![
            Command::FormCluster(FormCluster {
                cluster_id: self.digest(),
                settings: self.settings(),
                node: self.register_node(),
                administrator: self.principal(),
                administrator_key: self.api_key(),
                key_hash_key: self.secret(),
                session_key: self.secret(),
            }),
            Command::SetSettings { settings: self.settings(), if_revision: self.revision() },
            Command::CreateJoinToken(self.join_token()),
            Command::RegisterNode(self.register_node()),
            Command::SetNodeRole { node: self.node_id(), role: self.node_role() },
            Command::RemoveNode { node: self.node_id(), lose_journal: self.flag() },
            Command::UpdateNode {
                node: self.node_id(),
                peer_address: self.text(),
                admin_address: self.text(),
                http_address: self.text(),
                region: self.text(),
                zone: self.text(),
                version: self.text(),
            },
            Command::Tick { node: self.node_id() },
            Command::OpenIncarnation { node: self.node_id() },
            Command::Activity(self.batch()),
            Command::SealJournal { node: self.node_id() },
            Command::CreateTenant(Box::new(self.tenant())),
            Command::UpdateTenant { tenant: Box::new(self.tenant()), if_revision: self.revision() },
            Command::SetTenantStatus {
                tenant: self.tenant_id(),
                status: self.tenant_status(),
                if_revision: self.revision(),
            },
            Command::CreatePrincipal(self.principal()),
            Command::UpdatePrincipal { principal: self.principal(), if_revision: self.revision() },
            Command::DeletePrincipal {
                tenant: self.tenant_id(),
                principal: self.principal_id(),
                if_revision: self.revision(),
            },
            Command::CreateApiKey(self.api_key()),
            Command::RotateApiKey { old: self.key_id(), new: self.api_key(), overlap_until: self.time() },
            Command::RevokeApiKey { tenant: self.tenant_id(), key: self.key_id() },
            Command::RecoverAdmin { key: self.api_key() },
            Command::PutRole { role: self.role(), if_revision: self.revision() },
            Command::DeleteRole {
                tenant: self.tenant_id(),
                role: self.role_id(),
                if_revision: self.revision(),
            },
            Command::CreateGrant(self.grant()),
            Command::RevokeGrant { tenant: self.tenant_id(), grant: self.grant_id() },
            Command::PutRestriction { rule: self.restriction(), if_revision: self.revision() },
            Command::DeleteRestriction { tenant: self.tenant_id(), rule: self.rule_id() },
            Command::PutDeny { rule: self.deny(), if_revision: self.revision() },
            Command::DeleteDeny { tenant: self.tenant_id(), rule: self.rule_id() },
            Command::PutUpstream { upstream: Box::new(self.upstream()), if_revision: self.revision() },
            Command::DeleteUpstream { tenant: self.tenant_id(), upstream: self.upstream_id() },
            Command::SetUpstreamEnabled {
                tenant: self.tenant_id(),
                upstream: self.upstream_id(),
                enabled: self.flag(),
            },
            Command::SetToolEnabled {
                tenant: self.tenant_id(),
                upstream: self.upstream_id(),
                tool: self.text(),
                enabled: self.flag(),
            },
            Command::CloseMcpSession {
                tenant: self.tenant_id(),
                session: McpSessionId(self.raw()),
                expires_at: self.time(),
            },
        ]
    }

    fn ledger_commands(&mut self) -> Vec<Command> {
        vec![
            Command::PutBudget { budget: Box::new(self.budget()), if_revision: self.revision() },
            Command::DeleteBudget { tenant: self.tenant_id(), budget: self.budget_id() },
            Command::ForceClose { node: self.node_id(), account: self.option(Gen::account_key) },
            Command::Activity(self.ledger_batch()),
        ]
    }
}
