//! The binary `only1mcp`; see `cli.rs`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    only1mcp_node::cli::main()
}
