//! `node.yaml`: the one configuration form. Unknown fields are errors; every error names its field and what to do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::keys::KeysConfig;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Parse { path: PathBuf, source: serde_norway::Error },
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The name in this node's certificate.
    pub name: String,
    pub data_dir: PathBuf,
    #[serde(default)]
    pub region: String,
    #[serde(default)]
    pub zone: String,
    pub peer: PeerConfig,
    pub admin: AdminConfig,
    pub http: HttpConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<TrustConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<TrustConfig>,
    /// Shown each checkpoint of the audit chain by the node that leads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<WitnessConfig>,
    /// Present on nodes that join; absent on the one that forms the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinConfig>,
    /// Used when the cluster is formed; afterwards replicated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<FormConfig>,
    /// The times this node is to run with. They are the cluster's: where those are others, the node does not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<TimingConfig>,
    #[serde(default)]
    pub log: LogConfig,
    /// How fast the data folder is read through, again and again, looking for damage; 0: not at all.
    #[serde(default = "default_scrub_bytes_per_second")]
    pub scrub_bytes_per_second: u64,
    /// How long a shutdown may take before the node ends regardless.
    #[serde(default = "default_shutdown_ms")]
    pub shutdown_ms: u64,
    /// With less space left beside the data folder, calls and most administrative writes are refused.
    #[serde(default = "default_disk_low_bytes")]
    pub disk_low_bytes: u64,
    /// Where the keys come from that everything on disk is encrypted with.
    #[serde(default)]
    pub keys: KeysConfig,
    /// The local socket for `init` and `recover-admin`; `DATA_DIR/control.sock` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_socket: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Roots that the other side's certificate must lead to, PEM; several during a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    pub listen: SocketAddr,
    /// Host and port other nodes reach this one at; `listen` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    pub tls: TlsFiles,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    pub listen: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// With `ca`, client certificates it signed are accepted besides API keys.
    pub tls: TlsFiles,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// Absent: plain HTTP, which is accepted on loopback only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFiles>,
    /// Plain HTTP beyond loopback: for a TLS proxy on the same trusted network, by name.
    #[serde(default)]
    pub plain_http_beyond_loopback: bool,
    #[serde(default = "default_body_bytes_max")]
    pub body_bytes_max: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustConfig {
    /// Roots that certificates of https upstreams, or of webhooks, may lead to besides the system's, PEM. Read when the
    /// node starts.
    pub ca: PathBuf,
}

/// Who remembers the audit chain's checkpoints, outside the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// Speaks C2SP tlog-witness there.
    pub url: String,
    /// What it signs with, as `only1mcp witness` prints it.
    pub key: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinConfig {
    /// Peer addresses (host:port) of members, tried in turn.
    pub peers: Vec<String>,
    /// Holds the one-time token of `ctl cluster join-token`.
    pub token_file: PathBuf,
    /// Become a voter once caught up; a learner otherwise.
    #[serde(default = "yes")]
    pub voter: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormConfig {
    #[serde(default = "default_cluster_name")]
    pub cluster_name: String,
    #[serde(default = "default_heartbeat_ms")]
    pub heartbeat_ms: u64,
    #[serde(default = "default_election_ms_min")]
    pub election_ms_min: u64,
    #[serde(default = "default_election_ms_max")]
    pub election_ms_max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimingConfig {
    pub heartbeat_ms: u64,
    pub election_ms_min: u64,
    pub election_ms_max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    #[serde(default)]
    pub format: LogFormat,
    /// As in `RUST_LOG`, which wins where it is set.
    #[serde(default = "default_filter")]
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: default_filter() }
    }
}

impl Default for FormConfig {
    fn default() -> Self {
        Self {
            cluster_name: default_cluster_name(),
            heartbeat_ms: default_heartbeat_ms(),
            election_ms_min: default_election_ms_min(),
            election_ms_max: default_election_ms_max(),
        }
    }
}

fn yes() -> bool {
    true
}
fn default_shutdown_ms() -> u64 {
    10_000
}
fn default_disk_low_bytes() -> u64 {
    only1mcp_domain::limits::DISK_LOW_BYTES
}
fn default_body_bytes_max() -> usize {
    only1mcp_domain::limits::BODY_BYTES_MAX
}
/// A terabyte in twelve days.
fn default_scrub_bytes_per_second() -> u64 {
    1 << 20
}

fn default_cluster_name() -> String {
    "only1mcp".to_owned()
}
fn default_heartbeat_ms() -> u64 {
    100
}
fn default_election_ms_min() -> u64 {
    500
}
fn default_election_ms_max() -> u64 {
    1_000
}
fn default_filter() -> String {
    "info,openraft=error".to_owned()
}

impl NodeConfig {
    /// Reads and checks a file. Relative paths in it are relative to its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config: Self = serde_norway::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        config.check()?;
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        let absolute = |path: &mut PathBuf| {
            if path.is_relative() {
                *path = folder.join(&*path);
            }
        };
        absolute(&mut self.data_dir);
        let mut tls: Vec<&mut TlsFiles> = vec![&mut self.peer.tls, &mut self.admin.tls];
        tls.extend(self.http.tls.as_mut());
        for files in tls {
            absolute(&mut files.cert);
            absolute(&mut files.key);
            files.ca.as_mut().map(absolute);
        }
        for trusted in [&mut self.upstreams, &mut self.webhooks].into_iter().flatten() {
            absolute(&mut trusted.ca);
        }
        if let Some(join) = &mut self.join {
            absolute(&mut join.token_file);
        }
        self.keys.resolve(absolute);
        self.control_socket.as_mut().map(absolute);
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |field, problem: &str| Err(ConfigError::Invalid { field, problem: problem.to_owned() });
        if self.name.is_empty() || self.name.len() > only1mcp_domain::limits::NAME_BYTES_MAX {
            return invalid("name", "give the node's name, as in its certificate (1 to 128 bytes)");
        }
        if self.peer.tls.ca.is_none() {
            return invalid(
                "peer.tls.ca",
                "peers always authenticate each other: name the file with their CA",
            );
        }
        if self.http.tls.is_none()
            && !self.http.listen.ip().is_loopback()
            && !self.http.plain_http_beyond_loopback
        {
            return invalid(
                "http.tls",
                "plain HTTP is for loopback only; give cert and key, or set http.plain_http_beyond_loopback: true",
            );
        }
        if self.http.body_bytes_max == 0 || self.http.body_bytes_max > 64 << 20 {
            return invalid("http.body_bytes_max", "must be between 1 and 67108864");
        }
        if self.disk_low_bytes < only1mcp_domain::limits::DISK_LOW_BYTES_MIN {
            return invalid("disk_low_bytes", "must be at least 4194304");
        }
        if self.join.as_ref().is_some_and(|join| join.peers.is_empty()) {
            return invalid("join.peers", "name at least one member's peer address");
        }
        if let Err((field, problem)) = self.keys.check(&self.data_dir) {
            return invalid(field, problem);
        }
        if let Some(form) = &self.form {
            let ordered =
                form.heartbeat_ms * 3 <= form.election_ms_min && form.election_ms_min < form.election_ms_max;
            if form.heartbeat_ms < 10 || form.election_ms_max > 60_000 || !ordered {
                return invalid(
                    "form",
                    "needs 10 <= heartbeat_ms, 3 x heartbeat_ms <= election_ms_min < election_ms_max <= 60000",
                );
            }
        }
        Ok(())
    }

    pub fn control_socket(&self) -> PathBuf {
        self.control_socket.clone().unwrap_or_else(|| self.data_dir.join("control.sock"))
    }

    pub fn peer_address(&self) -> String {
        self.peer.advertise.clone().unwrap_or_else(|| self.peer.listen.to_string())
    }

    pub fn admin_address(&self) -> String {
        self.admin.advertise.clone().unwrap_or_else(|| self.admin.listen.to_string())
    }

    pub fn http_address(&self) -> String {
        self.http.advertise.clone().unwrap_or_else(|| self.http.listen.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NodeConfig, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.yaml");
        std::fs::write(&path, text).unwrap();
        NodeConfig::load(&path)
    }

    const GOOD: &str = "
name: node-1
data_dir: data
peer: { listen: '127.0.0.1:7101', tls: { cert: c.pem, key: k.pem, ca: ca.pem } }
admin: { listen: '127.0.0.1:7201', tls: { cert: c.pem, key: k.pem } }
http: { listen: '127.0.0.1:7301' }
keys: { file: node.keys }
";

    #[test]
    fn a_minimal_file_is_enough_and_paths_are_relative_to_it() {
        let config = parse(GOOD).unwrap();
        assert!(config.data_dir.is_absolute());
        assert_eq!(config.peer_address(), "127.0.0.1:7101");
        assert!(config.upstreams.is_none() && config.webhooks.is_none());
        let more = "upstreams: { ca: up.pem }\nwebhooks: { ca: hooks.pem }\n";
        let config = parse(&(GOOD.to_owned() + more)).unwrap();
        assert_eq!(config.keys.file.as_ref().unwrap().parent(), config.data_dir.parent());
        for trusted in [config.upstreams, config.webhooks] {
            assert_eq!(trusted.unwrap().ca.parent(), config.data_dir.parent());
        }
    }

    #[test]
    fn errors_name_the_field() {
        let cases = [
            (GOOD.replace("region", "x") + "\nregoin: eu\n", "regoin"),
            (GOOD.replace(", ca: ca.pem", ""), "peer.tls.ca"),
            (GOOD.replace("127.0.0.1:7301", "0.0.0.0:7301"), "plain_http_beyond_loopback"),
            (GOOD.to_owned() + "join: { peers: [], token_file: t }\n", "join.peers"),
            (GOOD.to_owned() + "upstreams: { cas: x.pem }\n", "cas"),
            (GOOD.to_owned() + "webhooks: { cas: x.pem }\n", "cas"),
            (GOOD.to_owned() + "disk_low_bytes: 4194303\n", "disk_low_bytes"),
            (GOOD.to_owned() + "form: { heartbeat_ms: 400 }\n", "heartbeat_ms"),
            (GOOD.replace("keys: { file: node.keys }", ""), "plaintext: true"),
            (GOOD.replace("file: node.keys", "file: node.keys, plaintext: true"), "give one of"),
            (GOOD.replace("file: node.keys", "file: data/node.keys"), "keys.file"),
            (GOOD.replace("file: node.keys", "files: node.keys"), "files"),
            (GOOD.replace("file: node.keys", "file: node.keys, rotate_gib: 0"), "rotate_gib"),
            (GOOD.replace("file: node.keys", "plaintext: true, recovery: r.pem"), "keys.recovery"),
            (GOOD.replace("file: node.keys", "aws_kms: { key_id: k }"), "region"),
        ];
        for (text, names) in cases {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(names), "{error} does not name {names}");
        }
        assert!(parse(&(GOOD.to_owned() + "disk_low_bytes: 4194304\n")).is_ok());
        assert!(
            parse(&(GOOD.replace("127.0.0.1:7301'", "0.0.0.0:7301', plain_http_beyond_loopback: true")))
                .is_ok()
        );
    }
}
