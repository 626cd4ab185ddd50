//! The key table: what a backup needs besides itself to show personal data again. Kept apart from backups, and replaced
//! by a newer one after each erasure: whoever has an old table and an old backup can read whom the table still knows.
//!
//! A file of JSON: persons' keys under the key of a generation, and that key for the private part of a recovery key.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use only1mcp_domain::command::AdoptKeys;
use only1mcp_domain::ids::{Digest, PrincipalId, SubjectKeyId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{Erased, SubjectKey, WrappedKey};
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use only1mcp_proto::codec;
use serde::{Deserialize, Serialize};

use crate::session::Session;
use crate::write::WriteArgs;
use only1mcp_proofs::{hex, unhex};

const FORMAT: &str = "only1mcp-keys-1";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyTable {
    format: String,
    pub cluster_id: String,
    pub generation: u32,
    check: String,
    wrapped_generation: String,
    keys: Vec<Key>,
    erased: Vec<Gone>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Key {
    tenant: String,
    principal: String,
    id: String,
    wrapped: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Gone {
    tenant: String,
    principal: String,
    at_ms: u64,
    generation: u32,
    unrecoverable_since_ms: Option<u64>,
}

fn bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    unhex(text).context("the key table holds text that is not hexadecimal")
}

impl KeyTable {
    /// Errors: it is none, or of another version.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let table: Self =
            serde_json::from_slice(&text).with_context(|| format!("{} is no key table", path.display()))?;
        ensure!(table.format == FORMAT, "{} is of format {}", path.display(), table.format);
        Ok(table)
    }

    pub fn persons(&self) -> usize {
        self.keys.len()
    }

    pub fn check(&self) -> anyhow::Result<Digest> {
        Digest::parse_hex(&self.check).context("the key table's check is none")
    }

    /// For the private part of the recovery key.
    pub fn wrapped_generation(&self) -> anyhow::Result<Vec<u8>> {
        bytes(&self.wrapped_generation)
    }

    /// In commands of bounded size; at least one.
    pub fn adoption(&self) -> anyhow::Result<Vec<AdoptKeys>> {
        let mut parts = vec![self.part()?];
        for key in &self.keys {
            let key = SubjectKey {
                tenant: TenantId::new(&key.tenant)?,
                principal: PrincipalId::new(&key.principal)?,
                key: WrappedKey {
                    id: SubjectKeyId::parse_hex(&key.id).context("the key table holds an id that is none")?,
                    generation: self.generation,
                    bytes: bytes(&key.wrapped)?,
                },
            };
            self.room(&mut parts)?.keys.push(key);
        }
        for gone in &self.erased {
            let erased = Erased {
                at: TimestampMs(gone.at_ms),
                generation: gone.generation,
                unrecoverable_since: gone.unrecoverable_since_ms.map(TimestampMs),
            };
            let gone = (TenantId::new(&gone.tenant)?, PrincipalId::new(&gone.principal)?, erased);
            self.room(&mut parts)?.erased.push(gone);
        }
        Ok(parts)
    }

    fn part(&self) -> anyhow::Result<AdoptKeys> {
        let check = self.check()?;
        Ok(AdoptKeys { generation: self.generation, check, keys: Vec::new(), erased: Vec::new() })
    }

    fn room<'a>(&self, parts: &'a mut Vec<AdoptKeys>) -> anyhow::Result<&'a mut AdoptKeys> {
        let full =
            parts.last().is_none_or(|part| part.keys.len() + part.erased.len() >= limits::SUBJECT_KEYS_MAX);
        if full {
            parts.push(self.part()?);
        }
        parts.last_mut().context("there is no part")
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600);
        let partial = path.with_extension("partial");
        let mut file = file.open(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.sync_all()?;
        std::fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Reads the whole table from a node into `to`.
pub(super) async fn fetch(
    session: &Session,
    recovery_public: &str,
    to: &Path,
    write: WriteArgs,
) -> anyhow::Result<KeyTable> {
    let mut page_token = String::new();
    let mut table: Option<KeyTable> = None;
    loop {
        let request = pb::ReadKeyTableRequest {
            options: write.options(),
            recovery_public: recovery_public.to_owned(),
            page_token,
        };
        let page = session.subjects().read_key_table(request).await?.into_inner();
        let so_far = table.get_or_insert_with(|| KeyTable {
            format: FORMAT.to_owned(),
            cluster_id: hex(&page.cluster_id),
            generation: page.generation,
            check: hex(&page.check),
            wrapped_generation: hex(&page.wrapped_generation),
            keys: Vec::new(),
            erased: Vec::new(),
        });
        if so_far.generation != page.generation || so_far.check != hex(&page.check) {
            bail!("another generation began while the table was read: try again");
        }
        for key in page.keys {
            let wrapped = key.key.context("the server's answer is incomplete")?;
            so_far.keys.push(Key {
                tenant: key.tenant,
                principal: key.principal,
                id: hex(&wrapped.id),
                wrapped: hex(&wrapped.wrapped),
            });
        }
        for gone in page.erased {
            let (tenant, principal, erased) = codec::read_erased(gone)?;
            so_far.erased.push(Gone {
                tenant: tenant.to_string(),
                principal: principal.to_string(),
                at_ms: erased.at.0,
                generation: erased.generation,
                unrecoverable_since_ms: erased.unrecoverable_since.map(|at| at.0),
            });
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let table = table.context("the server gave no table")?;
    table.write(to)?;
    Ok(table)
}
