//! Redis, beside which the benchmark of budgets holds and settles: the system's own, or unpacked with what it loads.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::debian;
use super::kit::Kit;
use crate::run;

pub const NAME: &str = "redis-server";
/// The server's own package holds a link to a program of the tools'; the others are libraries it loads.
const PACKAGES: [&str; 4] = ["redis-server", "redis-tools", "libjemalloc2", "liblzf1"];

/// Finds the program on PATH, or unpacks its packages; and says where it came from.
pub fn ensure(kit: &Kit) -> Result<(PathBuf, String)> {
    if let Some(found) = run::which(NAME) {
        kit.starter(NAME, &found, &[])?;
        let origin = format!("system, {}", found.display());
        return Ok((found, origin));
    }
    let dir = debian::unpack(kit, NAME, &PACKAGES)?;
    kit.starter_with_libraries(NAME, &dir.join("usr/bin").join(NAME), &libraries(&dir.join("usr/lib"))?)?;
    Ok((kit.path("bin").join(NAME), format!("Debian packages {}", PACKAGES.join(", "))))
}

/// The one folder there that is named after the machine's architecture.
fn libraries(dir: &Path) -> Result<PathBuf> {
    let folders = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let folders = folders.filter_map(|entry| Some(entry.ok()?.path()));
    let named = |path: &PathBuf| path.to_string_lossy().ends_with("-linux-gnu");
    folders.into_iter().find(named).with_context(|| format!("no libraries in {}", dir.display()))
}
