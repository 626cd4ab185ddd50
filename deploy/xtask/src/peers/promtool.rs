//! promtool, which lints the metrics we expose.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Peer;
use super::kit::Kit;
use crate::run::{self, Cmd, say};

/// Finds promtool on PATH, or unpacks it from Debian's package without installing that.
pub fn ensure(kit: &Kit) -> Result<Peer> {
    let (path, origin) = match run::which("promtool") {
        Some(path) => {
            let origin = format!("system, {}", path.display());
            (path, origin)
        }
        None => (unpack(kit)?, "Debian package prometheus".to_owned()),
    };
    let said = Cmd::new(&path).args(["--version"]).read()?;
    // "promtool, version 2.42.0+ds (branch: …": the third word of whichever stream it chose.
    let version = said.split_whitespace().nth(2).unwrap_or("unknown").to_owned();
    kit.starter("promtool", &path, &[])?;
    Ok(Peer { name: "promtool", version, origin })
}

fn unpack(kit: &Kit) -> Result<PathBuf> {
    if run::which("apt-get").is_none() || run::which("dpkg").is_none() {
        bail!("promtool is not on PATH: install Prometheus's tools and put promtool on PATH");
    }
    let dir = kit.install("prometheus", "apt prometheus", |dir| {
        say("unpacking promtool from Debian's package prometheus");
        download(dir)?;
        let package = std::fs::read_dir(dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|ext| ext == "deb"))
            .context("apt-get downloaded no package")?;
        Cmd::new("dpkg").dir(dir).args([Path::new("-x"), &package, dir]).quiet()?;
        std::fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))
    })?;
    Ok(dir.join("usr/bin/promtool"))
}

/// Fetches the package file; on a machine whose package lists were never fetched, fetches those first.
fn download(dir: &Path) -> Result<()> {
    let fetch = || Cmd::new("apt-get").dir(dir).args(["download", "prometheus"]).quiet();
    if fetch().is_ok() {
        return Ok(());
    }
    if Cmd::new("id").args(["-u"]).read()? == "0" {
        Cmd::new("apt-get").args(["update"]).quiet()?;
    }
    fetch().context("apt-get cannot fetch the package `prometheus`; as root, run `apt-get update` first")
}
