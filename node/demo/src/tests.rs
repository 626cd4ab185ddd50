//! The demo as its clients see it, over both transports.

use std::sync::{Arc, Mutex};

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientConfig, GetPromptRequestParams, ProgressNotificationParam,
    ReadResourceRequestParams,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, RoleClient, ServiceError, ServiceExt as _};
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::command::{serve_http, serve_messages};
use super::server::GUIDE_URI;

/// A client that notes the progress it is told.
#[derive(Clone, Default)]
struct Listener {
    told: Arc<Mutex<Vec<f64>>>,
}

impl ClientHandler for Listener {
    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.told.lock().unwrap().push(params.progress);
    }

    fn get_info(&self) -> ClientConfig {
        ClientConfig::default()
    }
}

struct Session {
    client: RunningService<RoleClient, Listener>,
    listener: Listener,
    _stop: DropGuard,
}

impl Session {
    async fn over_http(stateless: bool) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", port.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(serve_http(port, stateless, stop.clone().cancelled_owned()));
        let listener = Listener::default();
        let client = listener.clone().serve(StreamableHttpClientTransport::from_uri(url)).await.unwrap();
        Self { client, listener, _stop: stop.drop_guard() }
    }

    async fn over_messages() -> Self {
        let (near, far) = tokio::io::duplex(1 << 16);
        let stop = CancellationToken::new();
        tokio::spawn(serve_messages(far, stop.clone().cancelled_owned()));
        let listener = Listener::default();
        let client = listener.clone().serve(near).await.unwrap();
        Self { client, listener, _stop: stop.drop_guard() }
    }

    async fn call(
        &self,
        tool: &'static str,
        arguments: serde_json::Value,
    ) -> Result<CallToolResult, ServiceError> {
        self.client.call_tool(request(tool, arguments)).await
    }
}

fn request(tool: &'static str, arguments: serde_json::Value) -> CallToolRequestParams {
    let request = CallToolRequestParams::new(tool);
    match arguments {
        serde_json::Value::Object(arguments) => request.with_arguments(arguments),
        _ => request,
    }
}

fn text_of(result: &CallToolResult) -> &str {
    &result.content[0].as_text().unwrap().text
}

async fn everything_works(session: &Session) {
    let tools = session.client.list_all_tools().await.unwrap();
    let mut names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    names.sort_unstable();
    assert_eq!(names, ["admin_only", "big", "echo", "fail", "progress", "slow"]);

    let echo = session.call("echo", serde_json::json!({"text": "grüß dich"})).await.unwrap();
    assert_eq!((text_of(&echo), echo.is_error), ("grüß dich", Some(false)));
    let failed = session.call("fail", serde_json::json!({"reason": "because"})).await.unwrap();
    assert_eq!((text_of(&failed), failed.is_error), ("because", Some(true)));
    let admin = session.call("admin_only", serde_json::Value::Null).await.unwrap();
    assert!(text_of(&admin).contains("administrator"));

    let big = session.call("big", serde_json::json!({"bytes": 1_000_003})).await.unwrap();
    assert_eq!(text_of(&big).len(), 1_000_003);
    assert!(text_of(&big).starts_with("000000000000000\n000000000000001\n"));
    session.call("big", serde_json::json!({"bytes": 8_388_609})).await.unwrap_err();
    session.call("slow", serde_json::json!({"ms": 60_001})).await.unwrap_err();
    session.call("progress", serde_json::json!({"steps": 1_001})).await.unwrap_err();

    let prompts = session.client.list_all_prompts().await.unwrap();
    assert_eq!(prompts.len(), 1);
    let mut greet = GetPromptRequestParams::new("greet");
    greet.arguments = serde_json::json!({"name": "Ana"}).as_object().cloned();
    let prompt = session.client.get_prompt(greet).await.unwrap();
    assert!(format!("{prompt:?}").contains("Greet Ana"));

    let resources = session.client.list_all_resources().await.unwrap();
    assert_eq!(resources.len(), 1);
    let guide = session.client.read_resource(ReadResourceRequestParams::new(GUIDE_URI)).await.unwrap();
    assert!(format!("{guide:?}").contains("# The demo server"));
    session.client.read_resource(ReadResourceRequestParams::new("demo://nothing")).await.unwrap_err();
}

async fn progress_is_told(session: &Session) {
    let done = session.call("progress", serde_json::json!({"steps": 4, "step_ms": 20})).await.unwrap();
    assert_eq!(text_of(&done), "4 steps done");
    // The last notification may be handled just after the answer.
    let deadline = Instant::now() + Duration::from_secs(2);
    while session.listener.told.lock().unwrap().len() < 4 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*session.listener.told.lock().unwrap(), [1.0, 2.0, 3.0, 4.0]);
}

async fn a_cancelled_call_holds_nothing_up(session: &Session) {
    let slow = rmcp::model::ClientRequest::CallToolRequest(rmcp::model::Request::new(request(
        "slow",
        serde_json::json!({"ms": 30_000}),
    )));
    let handle =
        session.client.send_cancellable_request(slow, PeerRequestOptions::no_options()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    handle.cancel(Some("not needed any more".to_owned())).await.unwrap();
    // The session goes on, and nothing waits for the cancelled call.
    session.call("slow", serde_json::json!({"ms": 10})).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn over_streamable_http() {
    let session = Session::over_http(false).await;
    everything_works(&session).await;
    progress_is_told(&session).await;
    a_cancelled_call_holds_nothing_up(&session).await;
}

#[tokio::test]
async fn over_streamable_http_without_sessions() {
    let session = Session::over_http(true).await;
    everything_works(&session).await;
    progress_is_told(&session).await;
}

#[tokio::test]
async fn over_messages_as_on_standard_input_and_output() {
    let session = Session::over_messages().await;
    everything_works(&session).await;
    progress_is_told(&session).await;
    a_cancelled_call_holds_nothing_up(&session).await;
}

#[tokio::test]
async fn a_web_page_of_another_origin_is_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve_http(port, false, stop.clone().cancelled_owned()));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\norigin: https://evil.example\r\ncontent-length: 2\r\n\
         connection: close\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n\r\n{{}}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    stop.cancel();
}
