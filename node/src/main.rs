//! The binary `only1mcp`; see `cli.rs`.

fn main() -> std::process::ExitCode {
    only1mcp_node::cli::main()
}
