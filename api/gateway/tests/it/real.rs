//! A real MCP server on rmcp, over HTTP and, by running this test binary again, over stdio.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rmcp::model::*;
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt as _};
use serde_json::{Value, json};

/// What happened to the server, seen from inside.
#[derive(Clone, Default)]
pub struct Seen {
    pub cancelled: Arc<AtomicU32>,
    pub roots_changed: Arc<AtomicU32>,
    pub sessions: Arc<AtomicU32>,
}

#[derive(Clone, Default)]
pub struct Server {
    seen: Seen,
}

fn text(text: impl Into<String>) -> Result<CallToolResponse, ErrorData> {
    Ok(CallToolResult::success(vec![ContentBlock::text(text.into())]).into())
}

fn tools() -> Vec<Tool> {
    let schema: JsonObject = serde_json::from_value(json!({"type": "object"})).unwrap();
    ["echo", "progress", "slow", "ask", "fail", "touch"]
        .map(|name| Tool::new(name, format!("the {name} tool"), schema.clone()))
        .into()
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = json!({
            "tools": {"listChanged": true},
            "resources": {"subscribe": true, "listChanged": true},
            "prompts": {},
            "logging": {},
        });
        ServerConfig::new(serde_json::from_value(capabilities).unwrap())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(vec![Resource::new("file:///a+b.txt", "a")]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(ReadResourceResult::new(vec![ResourceContents::text("contents", request.uri)]).into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompt = json!({"name": "greet", "description": "greets"});
        Ok(ListPromptsResult::with_all_items(vec![serde_json::from_value(prompt).unwrap()]))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let message = json!({"role": "user", "content": {"type": "text", "text": request.name}});
        Ok(GetPromptResult::new(vec![serde_json::from_value(message).unwrap()]).into())
    }

    #[allow(deprecated, reason = "the versions under test have it")]
    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn on_initialized(&self, _: NotificationContext<RoleServer>) {
        self.seen.sessions.fetch_add(1, Ordering::SeqCst);
    }

    async fn on_roots_list_changed(&self, _: NotificationContext<RoleServer>) {
        self.seen.roots_changed.fetch_add(1, Ordering::SeqCst);
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        match &*request.name {
            "echo" => text(arguments.to_string()),
            "progress" => {
                let token = context.meta.get_progress_token().expect("a token");
                for step in 1..=3 {
                    let progress =
                        ProgressNotificationParam::new(token.clone(), f64::from(step)).with_total(3.0);
                    context.peer.notify_progress(progress).await.unwrap();
                }
                text("done")
            }
            "slow" => {
                tokio::select! {
                    () = context.ct.cancelled() => {
                        self.seen.cancelled.fetch_add(1, Ordering::SeqCst);
                        text("cancelled")
                    }
                    () = tokio::time::sleep(Duration::from_secs(30)) => text("slept"),
                }
            }
            "ask" => {
                let question = json!({
                    "mode": "form",
                    "message": "who?",
                    "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
                });
                let question: ElicitRequestParams = serde_json::from_value(question).unwrap();
                let answer = context.peer.create_elicitation(question).await;
                text(format!("{:?}", answer.map(|answer| answer.content)))
            }
            "fail" => Ok(CallToolResult::error(vec![ContentBlock::text("no")]).into()),
            "touch" => {
                let touched = json!({"uri": "file:///a+b.txt"});
                context.peer.notify_resource_updated(serde_json::from_value(touched).unwrap()).await.unwrap();
                context.peer.notify_tool_list_changed().await.unwrap();
                text("touched")
            }
            other => Err(ErrorData::invalid_params(format!("no tool {other}"), None)),
        }
    }
}

/// The server over Streamable HTTP.
pub async fn serve() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let server = Server { seen: seen.clone() };
    let config = StreamableHttpServerConfig::default().with_sse_retry(Some(Duration::from_millis(100)));
    let service: StreamableHttpService<Server, LocalSessionManager> =
        StreamableHttpService::new(move || Ok(server.clone()), Default::default(), config);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = axum::Router::new().nest_service("/mcp", service);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (addr, seen)
}

/// No test: the child process of those that need one.
#[tokio::test]
async fn stdio_upstream() {
    if std::env::var_os("ONLY1MCP_TEST_STDIO").is_some() {
        let running = Server::default().serve(rmcp::transport::stdio()).await.unwrap();
        running.waiting().await.unwrap();
    }
}
