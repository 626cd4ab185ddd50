//! The order of things: folder, socket, HTTP port, membership, service, end.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use only1mcp_storage::{DataFolder, StorageError};

use crate::config::NodeConfig;
use crate::offline;
use crate::serve::control::{Asked, ControlAnswer, ControlRequest, ControlSocket, ShownKey, failed};
use crate::serve::erasure::{self, GenerationStore};
use crate::serve::front::{self, Later};
use crate::serve::identity::Identity;
use crate::serve::member::{Authorities, Joined, Member, TlsConnector, keeper, listen};
use crate::serve::readiness::{Phase, Readiness};
use crate::serve::reseal::Reseal;
use crate::serve::rotate::Rotation;
use crate::serve::unseal::{self, Unsealed};
use crate::serve::{form, join, retime, signals};
use crate::telemetry;
use crate::tls::{self, AcceptLimits, ClientCertificate, Keeper, NodeConnector, ServerTls};

const CONNECT_MS_MAX: u64 = 2_000;
const ASKED_MAX: usize = 16;

/// What a node that ends well leaves to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    End,
    /// The same program in place of this one: [`start_anew`](super::start_anew).
    StartAnew,
}

/// Runs one node until it is told to end, has to start anew, or fails.
pub async fn run(config: NodeConfig, until_stdin_closes: bool) -> anyhow::Result<Next> {
    telemetry::start(&config.log)?;
    let folder = config.data_dir.clone();
    Box::pin(run_node(config, until_stdin_closes)).await.map_err(|error| advise(error, &folder))
}

/// Damaged files are nothing to guess about: who knows what each of them means is named.
fn advise(error: anyhow::Error, folder: &Path) -> anyhow::Error {
    let damage =
        |cause: &StorageError| matches!(cause, StorageError::Corrupt { .. } | StorageError::Version { .. });
    // Where a room hands on an error as text, the text says it.
    let damaged = error.chain().any(|cause| {
        cause.downcast_ref::<StorageError>().is_some_and(damage) || cause.to_string().contains("is corrupt: ")
    });
    if !damaged {
        return error;
    }
    let folder = folder.display();
    error.context(format!(
        "files of this node are damaged: `only1mcp doctor {folder}` says what that means and what to do"
    ))
}

async fn run_node(config: NodeConfig, until_stdin_closes: bool) -> anyhow::Result<Next> {
    let folder = DataFolder::open(&config.data_dir)?;
    offline::refuse_unfinished(&folder)?;
    let stop = CancellationToken::new();
    let ended = async move {
        if until_stdin_closes { signals::ended_or_stdin_closed().await } else { signals::ended().await }
    };
    let mut ended = Box::pin(ended);
    let mut node = Node::open(config, folder, stop.clone()).await?;
    let lived = tokio::select! {
        joined = node.become_member() => Some(joined?),
        () = &mut ended => None,
    };
    let result = match lived {
        Some(Some(member)) => Box::pin(node.live(member, ended)).await,
        Some(None) | None => Ok(Next::End),
    };
    stop.cancel();
    result
}

struct Node {
    config: NodeConfig,
    folder: Arc<DataFolder>,
    /// Once the folder is open, where it is encrypted.
    rotation: Option<Arc<Rotation>>,
    stop: CancellationToken,
    readiness: Readiness,
    later: Later,
    peer_keeper: Arc<Keeper>,
    admin_keeper: Arc<Keeper>,
    authorities: Authorities,
    asked: mpsc::Receiver<Asked>,
    _socket: ControlSocket,
}

impl Node {
    async fn open(config: NodeConfig, folder: DataFolder, stop: CancellationToken) -> anyhow::Result<Self> {
        let authorities = Authorities::read(&config)?;
        let peer_keeper = keeper(&config.peer.tls, &stop).await?;
        let admin_keeper = keeper(&config.admin.tls, &stop).await?;
        let (sender, asked) = mpsc::channel(ASKED_MAX);
        let socket = ControlSocket::open(&config.control_socket(), sender)?;
        let readiness = Readiness::new(Phase::Starting);
        let later = Later::default();
        serve_front(&config, &readiness, &later, &stop).await?;
        Ok(Self {
            config,
            folder: Arc::new(folder),
            rotation: None,
            stop,
            readiness,
            later,
            peer_keeper,
            admin_keeper,
            authorities,
            asked,
            _socket: socket,
        })
    }

    /// By what the folder remembers, by joining, or by forming. `None` when asked to leave before.
    async fn become_member(&mut self) -> anyhow::Result<Option<Member>> {
        let Some(unsealed) = self.unseal().await? else { return Ok(None) };
        self.rotation = unsealed.rotation(&self.folder, &self.config);
        let mut forming = None;
        let mut identity = match Identity::read(&self.folder)? {
            Some(identity) => identity,
            None => {
                let identity = match self.config.join.clone() {
                    Some(join) => self.join(&join).await?,
                    None => {
                        forming = Some(self.wait_for_init().await?);
                        form::first_identity(&self.config)
                    }
                };
                identity.write(&self.folder)?;
                identity
            }
        };
        self.readiness.set(Phase::Starting);
        let store = match &self.rotation {
            Some(rotation) => GenerationStore::Ring(rotation.clone()),
            None => GenerationStore::Plain(self.folder.clone()),
        };
        let generations = unsealed.generations(&self.folder)?;
        let joined = Joined::start(
            &self.config,
            &self.folder,
            unsealed.keys(),
            (store, generations),
            &mut identity,
            &self.peer_keeper,
            &self.stop,
        )
        .await?;
        let answer = match &forming {
            Some((administrator, _)) => {
                let formed = form::form(&self.config, &joined.handle, administrator).await;
                if formed.is_ok() {
                    erasure::first_generation(&joined.handle, &joined.personal).await?;
                }
                Some(formed)
            }
            None => None,
        };
        if let (Some(answer), Some((_, sender))) = (answer, forming) {
            let _ = sender.send(key_answer(answer, identity.node));
        }
        let authorities = std::mem::take(&mut self.authorities);
        let member = tokio::select! {
            entered = joined.enter(&self.config, &self.readiness, &self.later, &self.admin_keeper, authorities) => entered?,
            () = answer_while(&mut self.asked, "starting", "waits for a quorum of its cluster") => return Ok(None),
        };
        if !identity.took_part {
            identity.took_part = true;
            identity.write(&self.folder)?;
        }
        Ok(Some(member))
    }

    /// Opens the data folder. `None` when the socket closed before.
    async fn unseal(&mut self) -> anyhow::Result<Option<Unsealed>> {
        tokio::select! {
            unsealed = unseal::unseal(&self.config, &self.folder, &self.readiness) => Ok(Some(unsealed?)),
            () = answer_while(&mut self.asked, "sealed", "waits for its keys: see /health") => Ok(None),
        }
    }

    async fn join(&mut self, configured: &crate::config::JoinConfig) -> anyhow::Result<Identity> {
        self.readiness.set(Phase::Waiting { until: "a member of the cluster takes it in".to_owned() });
        let connector = Arc::new(TlsConnector(NodeConnector::new(self.peer_keeper.clone(), CONNECT_MS_MAX)));
        join::join(&self.config, configured, connector).await
    }

    /// The administrator's name and where the key goes.
    async fn wait_for_init(
        &mut self,
    ) -> anyhow::Result<(String, tokio::sync::oneshot::Sender<ControlAnswer>)> {
        self.readiness.set(Phase::Waiting { until: "`only1mcp init` forms the cluster".to_owned() });
        loop {
            match self.asked.recv().await {
                Some((ControlRequest::Init { administrator }, answer)) => return Ok((administrator, answer)),
                Some((request, answer)) => {
                    drop(answer.send(not_now(&request, "waiting", "is no member yet")))
                }
                None => anyhow::bail!("the control socket closed"),
            }
        }
    }

    async fn live(mut self, mut member: Member, ended: impl Future<Output = ()>) -> anyhow::Result<Next> {
        self.readiness.set(Phase::Serving);
        tracing::info!(node = %member.handle.node(), "serving");
        let patience = Duration::from_millis(self.config.shutdown_ms);
        if let Some(rotation) = &self.rotation {
            tokio::spawn(rotation.clone().watch(self.stop.clone()));
            let reseal = Reseal {
                stored: member.stored(self.folder.clone()),
                rotation: rotation.clone(),
                bytes_per_second: self.config.keys.reseal_bytes_per_second,
            };
            tokio::spawn(reseal.run(self.stop.clone()));
        }
        let mut ended = std::pin::pin!(ended);
        let mut turn = std::pin::pin!(retime::turn(self.config.clone(), member.handle.clone()));
        loop {
            tokio::select! {
                () = &mut ended => {
                    tracing::info!("shutting down");
                    self.readiness.set(Phase::Draining);
                    return member.stop(Instant::now() + patience).await.map(|()| Next::End);
                }
                () = &mut turn => {
                    tracing::info!("the cluster's times were changed: the node starts anew with them");
                    self.readiness.set(Phase::Draining);
                    let stopping = member.stop(Instant::now() + patience);
                    // Whoever tells it to end meanwhile means the node, not only this life of it.
                    let (stopped, told_to_end) = retime::stop_watching(stopping, ended.as_mut()).await;
                    stopped?;
                    if told_to_end {
                        tracing::info!("told to end: it does not start anew");
                        return Ok(Next::End);
                    }
                    return Ok(Next::StartAnew);
                }
                why = member.failed() => {
                    self.readiness.set(Phase::Failed(why.clone()));
                    tracing::error!(%why, "the node has failed and ends");
                    let _ = member.stop(Instant::now() + Duration::from_secs(1)).await;
                    anyhow::bail!("the node failed: {why}");
                }
                asked = self.asked.recv() => match asked {
                    Some((ControlRequest::Leave, answer)) => {
                        self.readiness.set(Phase::Draining);
                        let left = member.leave(Instant::now() + patience).await;
                        drop(answer.send(match &left {
                            Ok(()) => ControlAnswer::Left,
                            Err(error) => failed("LEAVE_FAILED", format!("{error:#}; the node ends, start it to try again")),
                        }));
                        // Give the answer time to reach the one who asked.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        return left.map(|()| Next::End);
                    }
                    Some((ControlRequest::RotateKeys, answer)) => {
                        // A provider may take its time.
                        tokio::spawn(rotate_keys(self.rotation.clone(), answer));
                    }
                    Some((ControlRequest::RewrapKeys, answer)) => {
                        tokio::spawn(rewrap_keys(self.rotation.clone(), answer));
                    }
                    Some((request, answer)) => drop(answer.send(self.answer(&member, &request).await)),
                    None => anyhow::bail!("the control socket closed"),
                }
            }
        }
    }

    async fn answer(&self, member: &Member, request: &ControlRequest) -> ControlAnswer {
        match request {
            ControlRequest::Status => {
                let why_not = self.readiness.why_not();
                ControlAnswer::Status {
                    phase: self.readiness.phase().name().to_owned(),
                    node: Some(member.handle.node().0),
                    ready: why_not.is_none(),
                    why_not,
                }
            }
            ControlRequest::ShowKeys => match &self.rotation {
                Some(rotation) => {
                    let ring = rotation.ring().await;
                    let keys = ring.data_keys().into_iter().map(|(id, wrapped_by, made_ms)| ShownKey {
                        id,
                        seals: id == ring.current(),
                        wrapped_by,
                        made_ms,
                        named_by: rotation.progress().named(id),
                    });
                    let keys = keys.collect();
                    ControlAnswer::Keys { keys, wraps: ring.uses(), resealing: rotation.progress().told() }
                }
                None => failed("PLAINTEXT", "the data folder is not encrypted".to_owned()),
            },
            ControlRequest::RecoverAdmin { administrator } => key_answer(
                form::recover_administrator(&member.handle, administrator).await,
                member.handle.node().0,
            ),
            ControlRequest::Init { .. } => {
                failed("CLUSTER_ALREADY_FORMED", "this node is a member of a cluster already".to_owned())
            }
            ControlRequest::Leave | ControlRequest::RotateKeys | ControlRequest::RewrapKeys => {
                failed("BUSY", "the node is leaving".to_owned())
            }
        }
    }
}

fn key_answer(made: anyhow::Result<(String, only1mcp_domain::ids::Digest)>, node: u64) -> ControlAnswer {
    match made {
        Ok((key, cluster_id)) => {
            ControlAnswer::AdministratorKey { key, cluster_id: cluster_id.to_string(), node }
        }
        Err(error) => failed("FAILED", format!("{error:#}")),
    }
}

async fn rotate_keys(rotation: Option<Arc<Rotation>>, answer: tokio::sync::oneshot::Sender<ControlAnswer>) {
    let made = match rotation {
        Some(rotation) => match rotation.rotate().await {
            Ok(data_key) => ControlAnswer::KeysRotated { data_key },
            Err(error) => failed("KEYS_NOT_ROTATED", error.to_string()),
        },
        None => failed("PLAINTEXT", "the data folder is not encrypted".to_owned()),
    };
    drop(answer.send(made));
}

async fn rewrap_keys(rotation: Option<Arc<Rotation>>, answer: tokio::sync::oneshot::Sender<ControlAnswer>) {
    let made = match rotation {
        Some(rotation) => match rotation.rewrap(false).await {
            Ok(()) => ControlAnswer::KeysRewrapped,
            Err(error) => failed("KEYS_NOT_RENEWED", error.to_string()),
        },
        None => failed("PLAINTEXT", "the data folder is not encrypted".to_owned()),
    };
    drop(answer.send(made));
}

fn not_now(request: &ControlRequest, phase: &str, why: &str) -> ControlAnswer {
    match request {
        ControlRequest::Status => ControlAnswer::Status {
            phase: phase.to_owned(),
            node: None,
            ready: false,
            why_not: Some(format!("the node {why}")),
        },
        _ => failed("NOT_READY", format!("the node {why}")),
    }
}

/// Answers the socket while the node waits; ends only with the socket.
async fn answer_while(asked: &mut mpsc::Receiver<Asked>, phase: &str, why: &str) {
    while let Some((request, answer)) = asked.recv().await {
        drop(answer.send(not_now(&request, phase, why)));
    }
}

async fn serve_front(
    config: &NodeConfig,
    readiness: &Readiness,
    later: &Later,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let listener = listen(config.http.listen, "http").await?;
    let server_tls = match &config.http.tls {
        Some(files) => {
            let keeper = keeper(files, stop).await?;
            Some(ServerTls::new(keeper, ClientCertificate::None, &["h2", "http/1.1"])?)
        }
        None => None,
    };
    let incoming =
        tls::accept(listener, server_tls, Arc::new(|_| true), AcceptLimits::default(), stop.clone());
    let router = front::router(readiness.clone(), later.clone());
    let stop = stop.clone();
    tokio::spawn(async move { tls::serve_http(incoming, router, tls::HttpLimits::default(), stop).await });
    Ok(())
}
