//! Shows checkpoints to the witnesses of the configuration. Source: C2SP tlog-witness.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use only1mcp_consensus::Tree;
use only1mcp_domain::ids::Digest;
use only1mcp_domain::limits;
use only1mcp_gateway::Outbound;
use only1mcp_proofs::{NoteSignature, VerifierKey, base64};
use tokio::time::{Duration, timeout};

use super::record::Complete;
use crate::config::WitnessConfig;

/// One question to one witness.
const ASK: Duration = Duration::from_secs(3);
/// A witness says what it has at most so often for one checkpoint.
const ATTEMPTS: usize = 2;

struct Known {
    url: String,
    key: VerifierKey,
}

pub struct Witnesses {
    outside: Outbound,
    known: Vec<Known>,
    /// What each has signed, as far as this node knows.
    sizes: Mutex<BTreeMap<String, u64>>,
}

impl Witnesses {
    pub fn new(outside: Outbound, configured: &[WitnessConfig]) -> anyhow::Result<Self> {
        let known = configured.iter().map(|witness| {
            let key = witness.key.parse::<VerifierKey>().map_err(anyhow::Error::msg);
            let url = witness.url.trim_end_matches('/').to_owned();
            Ok(Known { key: key.with_context(|| format!("witnesses: {url}"))?, url })
        });
        let known = known.collect::<anyhow::Result<_>>()?;
        Ok(Self { outside, known, sizes: Mutex::default() })
    }

    /// Adds their signatures to the note. A witness that does not sign holds nothing up; it is told of in the log.
    pub async fn sign(&self, tree: &Tree, complete: &mut Complete) {
        for witness in &self.known {
            match timeout(ASK, self.one(witness, tree, complete)).await {
                Ok(Ok(signature)) => complete.note.signatures.push(signature),
                Ok(Err(error)) => {
                    tracing::warn!(
                        code = "WITNESS",
                        witness = witness.key.name,
                        error = format!("{error:#}"),
                        "a witness did not sign"
                    );
                }
                Err(_) => {
                    tracing::warn!(code = "WITNESS", witness = witness.key.name, "a witness does not answer")
                }
            }
        }
    }

    async fn one(&self, witness: &Known, tree: &Tree, complete: &Complete) -> anyhow::Result<NoteSignature> {
        let size = complete.checkpoint.tree.size;
        let known = |to: Option<u64>| {
            let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(to) = to {
                sizes.insert(witness.url.clone(), to);
            }
            sizes.get(&witness.url).copied().unwrap_or(0)
        };
        for _ in 0..ATTEMPTS {
            let old = known(None);
            anyhow::ensure!(
                old <= size,
                "it has signed {old} events, which is more than the {size} there are"
            );
            let path = if old == 0 { Vec::new() } else { tree.consistency(old, size)? };
            let (status, answer) = self.ask(witness, old, &path, complete).await?;
            match status {
                200 => {
                    known(Some(size));
                    let signature = NoteSignature::parse(answer.lines().next().unwrap_or_default())?;
                    let verified = signature.verified(&witness.key, &complete.note.text);
                    anyhow::ensure!(verified.is_some(), "its signature is not over this checkpoint");
                    return Ok(signature);
                }
                409 => known(Some(answer.trim_end().parse().context("it tells no size")?)),
                status => anyhow::bail!("it answers {status}: {}", answer.trim_end()),
            };
        }
        anyhow::bail!("it has signed another checkpoint meanwhile")
    }

    async fn ask(
        &self,
        witness: &Known,
        old: u64,
        path: &[Digest],
        complete: &Complete,
    ) -> anyhow::Result<(u16, String)> {
        let path: String = path.iter().map(|hash| base64(&hash.0) + "\n").collect();
        let body = format!("old {old}\n{path}\n{}", complete.note);
        let request = hyper::Request::post(format!("{}/add-checkpoint", witness.url))
            .body(Full::new(Bytes::from(body)))?;
        let answer = self.outside.send(request).await.map_err(anyhow::Error::msg)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), limits::NOTE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
