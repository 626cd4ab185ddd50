//! Where things are: the checkout, its build folder, its packages' targets.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// The checkout that this xtask was built from.
pub fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).context("xtask lies two folders below the checkout")?;
    anyhow::ensure!(
        root.join("Cargo.lock").is_file(),
        "{} is not the checkout any more: start xtask with `cargo xtask` inside it",
        root.display()
    );
    Ok(root.to_path_buf())
}

/// The cargo that started us, so that all of a run uses one toolchain.
pub fn cargo() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// The product's debug binary: beside our own, wherever the build folder was put.
pub fn product_binary() -> Result<PathBuf> {
    let me = env::current_exe().context("cannot tell where xtask itself lies")?;
    let profile = me.parent().context("xtask's own path has no folder")?;
    Ok(profile.with_file_name("debug").join(format!("only1mcp{}", env::consts::EXE_SUFFIX)))
}

/// One buildable target of a package of this workspace.
pub struct Target {
    pub package: String,
    pub name: String,
    pub kind: String,
}

/// All targets of the workspace's own packages, as cargo tells them.
pub fn targets() -> Result<Vec<Target>> {
    let text = run::Cmd::new(cargo()).args(["metadata", "--no-deps", "--format-version", "1"]).read()?;
    let metadata: Value =
        serde_json::from_str(&text).context("cargo metadata printed something else than JSON")?;
    let mut found = Vec::new();
    for package in list(&metadata, "packages") {
        for target in list(package, "targets") {
            for kind in list(target, "kind") {
                found.push(Target {
                    package: text_of(package, "name"),
                    name: text_of(target, "name"),
                    kind: kind.as_str().unwrap_or_default().to_owned(),
                });
            }
        }
    }
    Ok(found)
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text_of(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
