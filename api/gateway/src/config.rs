//! Every bound of the gateway that an operator may move, with its default.

use std::time::Duration;

use only1mcp_domain::limits;
use rustls::pki_types::CertificateDer;

/// Bounds and times of one gateway. `Default` is meant for production.
#[derive(Clone, Debug)]
pub struct Config {
    pub body_bytes_max: usize,
    pub json_depth_max: usize,
    pub upstream_message_bytes_max: usize,
    /// A request's body must have arrived within this.
    pub body_read_ms_max: u64,
    /// A call's whole life, whatever its upstream's own timeout says.
    pub call_ms_max: u64,
    /// How long a finished answer waits for its admission to be committed before it is withheld.
    pub seal_ms_max: u64,
    /// One upstream's share in a list: slower ones are reported as unavailable.
    pub list_ms_max: u64,
    /// Connecting to an upstream, its initialization included.
    pub connect_ms_max: u64,
    /// Waiting for a free place at an upstream that is at its concurrency limit.
    pub permit_wait_ms_max: u64,
    pub session_idle_ms: u64,
    pub session_ms_max: u64,
    pub sessions_max: usize,
    pub sessions_per_principal_max: usize,
    /// Requests of one session in flight on one node.
    pub requests_per_session_max: usize,
    pub batch_messages_max: usize,
    pub list_page_items_max: usize,
    /// Items of one kind taken from one upstream; a longer list is refused, and that is reported.
    pub list_items_max: usize,
    /// How long a list is kept of an upstream that announces changes.
    pub list_ttl_ms: u64,
    /// The same for an upstream that does not.
    pub list_ttl_unannounced_ms: u64,
    /// An idle event stream carries a comment this often.
    pub keep_alive_ms: u64,
    /// An answer that takes longer turns into an event stream, so that the connection is kept alive.
    pub stream_after_ms: u64,
    /// Events of one stream that no reader has taken yet; past this the stream is dropped.
    pub stream_unread_events_max: usize,
    pub stream_unread_bytes_max: usize,
    /// Events kept for resumption after they were read.
    pub stream_kept_events_max: usize,
    pub stream_kept_bytes_max: usize,
    /// Streams of finished calls that a session keeps for resumption.
    pub finished_streams_max: usize,
    /// One notification of a client that is passed on to upstreams.
    pub notification_bytes_max: usize,
    /// Such notifications of one session.
    pub notifications_per_second_max: u32,
    /// A client waits no longer than this for upstreams to take its notification.
    pub notify_ms_max: u64,
    /// Looking for the node that runs a request which is to be cancelled.
    pub spread_ms_max: u64,
    pub reap_ms: u64,
    /// A child process is killed this long after its input was closed.
    pub child_exit_ms: u64,
    /// Authorities that upstreams over https may be certified by, besides the system's.
    pub upstream_authorities: Vec<CertificateDer<'static>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes_max: limits::BODY_BYTES_MAX,
            json_depth_max: limits::JSON_DEPTH_MAX,
            upstream_message_bytes_max: limits::UPSTREAM_MESSAGE_BYTES_MAX,
            body_read_ms_max: 30_000,
            call_ms_max: 600_000,
            seal_ms_max: 10_000,
            list_ms_max: 5_000,
            connect_ms_max: 10_000,
            permit_wait_ms_max: 2_000,
            session_idle_ms: 30 * 60_000,
            session_ms_max: limits::MCP_SESSION_MS_MAX,
            sessions_max: 10_000,
            sessions_per_principal_max: 256,
            requests_per_session_max: 128,
            batch_messages_max: 64,
            list_page_items_max: limits::PAGE_ROWS_MAX,
            list_items_max: 10_000,
            list_ttl_ms: 60_000,
            list_ttl_unannounced_ms: 5_000,
            keep_alive_ms: 15_000,
            stream_after_ms: 10_000,
            stream_unread_events_max: 1_024,
            stream_unread_bytes_max: 2 * limits::UPSTREAM_MESSAGE_BYTES_MAX,
            stream_kept_events_max: 256,
            stream_kept_bytes_max: 1 << 20,
            finished_streams_max: 8,
            notification_bytes_max: limits::ROW_BYTES_MAX,
            notifications_per_second_max: 50,
            notify_ms_max: 2_000,
            spread_ms_max: 2_000,
            reap_ms: 5_000,
            child_exit_ms: 500,
            upstream_authorities: Vec::new(),
        }
    }
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
