//! The tools, the prompt and the resource.

use rmcp::handler::server::router::prompt::PromptRouter;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResult, ContentBlock, Implementation, ListResourcesResult, PaginatedRequestParams,
    ProgressNotificationParam, PromptMessage, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, Resource, ResourceContents, Role, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{
    ErrorData, RoleServer, ServerHandler, prompt, prompt_handler, prompt_router, tool, tool_handler,
    tool_router,
};
use tokio::time::{Duration, sleep};

use super::arguments::{
    BIG_BYTES_MAX, Big, Echo, Fail, Greet, PAUSE_MS_MAX, Progress, STEPS_MAX, Slow, at_most,
};

/// The URI of the one resource.
pub const GUIDE_URI: &str = "demo://guide";
const GUIDE: &str = "# The demo server\n\nCall `echo` to hear yourself, `slow` to wait, `progress` to be told how far \
                     it is,\n`fail` to be refused politely, `big` for a long answer. `admin_only` is for those whom \
                     the gateway lets.\n";

type ToolResult = Result<CallToolResult, ErrorData>;

/// One MCP server; cheap to clone, without any state of its own.
#[derive(Debug, Clone)]
pub struct DemoServer {
    tool_router: ToolRouter<Self>,
    prompt_router: PromptRouter<Self>,
}

impl Default for DemoServer {
    fn default() -> Self {
        Self { tool_router: Self::tool_router(), prompt_router: Self::prompt_router() }
    }
}

fn text(said: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(said)])
}

#[tool_router]
impl DemoServer {
    #[tool(description = "Says back what it is told", annotations(read_only_hint = true))]
    async fn echo(&self, Parameters(Echo { text: said }): Parameters<Echo>) -> CallToolResult {
        text(said)
    }

    #[tool(
        description = "Takes its time, and stops when the call is cancelled",
        annotations(read_only_hint = true)
    )]
    async fn slow(
        &self,
        Parameters(Slow { ms }): Parameters<Slow>,
        context: RequestContext<RoleServer>,
    ) -> ToolResult {
        let ms = at_most("ms", ms, PAUSE_MS_MAX)?;
        pause(&context, ms).await?;
        Ok(text(format!("done after {ms} ms")))
    }

    #[tool(description = "Tells how far it is, step by step", annotations(read_only_hint = true))]
    async fn progress(
        &self,
        Parameters(Progress { steps, step_ms }): Parameters<Progress>,
        context: RequestContext<RoleServer>,
    ) -> ToolResult {
        let steps = at_most("steps", steps, STEPS_MAX)?;
        let step_ms = at_most("step_ms", step_ms, PAUSE_MS_MAX)?;
        // Who asked for no progress gets none, as the protocol wants it.
        let token = context.meta.get_progress_token();
        for step in 1..=steps {
            if let Some(token) = &token {
                let told = ProgressNotificationParam::new(token.clone(), f64::from(step))
                    .with_total(f64::from(steps))
                    .with_message(format!("step {step} of {steps}"));
                context
                    .peer
                    .notify_progress(told)
                    .await
                    .map_err(|error| ErrorData::internal_error(format!("progress: {error}"), None))?;
            }
            pause(&context, step_ms).await?;
        }
        Ok(text(format!("{steps} steps done")))
    }

    #[tool(description = "Fails, with a result that says so", annotations(read_only_hint = true))]
    async fn fail(&self, Parameters(Fail { reason }): Parameters<Fail>) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text(reason)])
    }

    #[tool(description = "Returns a long text", annotations(read_only_hint = true))]
    async fn big(&self, Parameters(Big { bytes }): Parameters<Big>) -> ToolResult {
        let bytes = at_most("bytes", bytes, BIG_BYTES_MAX)?;
        // Numbered, so that a piece that was lost or doubled on the way shows.
        let all = (0_u32..)
            .flat_map(|line| format!("{line:015}\n").into_bytes())
            .take(usize::try_from(bytes).unwrap_or(0));
        Ok(text(String::from_utf8(all.collect()).unwrap_or_default()))
    }

    #[tool(description = "Does what only administrators may: the gateway decides who that is")]
    async fn admin_only(&self) -> CallToolResult {
        text("done, as an administrator asked for it")
    }
}

/// Waits, or says that the call was cancelled.
async fn pause(context: &RequestContext<RoleServer>, ms: u64) -> Result<(), ErrorData> {
    match context.ct.run_until_cancelled(sleep(Duration::from_millis(ms))).await {
        Some(()) => Ok(()),
        None => Err(ErrorData::internal_error("the call was cancelled", None)),
    }
}

#[prompt_router]
impl DemoServer {
    #[prompt(name = "greet", description = "Asks for a greeting")]
    async fn greet(&self, Parameters(Greet { name }): Parameters<Greet>) -> Vec<PromptMessage> {
        vec![PromptMessage::new_text(Role::User, format!("Greet {name} in one friendly sentence."))]
    }
}

#[tool_handler(router = self.tool_router)]
#[prompt_handler(router = self.prompt_router)]
impl ServerHandler for DemoServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities =
            ServerCapabilities::builder().enable_tools().enable_prompts().enable_resources().build();
        let mut info = ServerConfig::new(capabilities);
        info.server_info = Implementation::new("only1mcp-demo", env!("CARGO_PKG_VERSION"));
        info.instructions =
            Some("A demo: small tools that show what a gateway must carry unharmed.".to_owned());
        info
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut guide = Resource::new(GUIDE_URI, "guide");
        guide.description = Some("What the demo's tools do".to_owned());
        guide.mime_type = Some("text/markdown".to_owned());
        Ok(ListResourcesResult::with_all_items(vec![guide]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri != GUIDE_URI {
            return Err(ErrorData::resource_not_found(format!("there is no resource {}", request.uri), None));
        }
        Ok(ReadResourceResult::new(vec![ResourceContents::text(GUIDE, GUIDE_URI)]).into())
    }
}
