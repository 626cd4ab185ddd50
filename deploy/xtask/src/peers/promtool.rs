//! promtool, which lints the metrics we expose.

use anyhow::Result;

use super::Peer;
use super::debian::{self, Program};
use super::kit::Kit;
use crate::run::Cmd;

const PROMTOOL: Program = Program { name: "promtool", package: "prometheus", path: "usr/bin/promtool" };

/// Finds promtool on PATH, or unpacks it from Debian's package without installing that.
pub fn ensure(kit: &Kit) -> Result<Peer> {
    let (path, origin) = debian::ensure(kit, &PROMTOOL)?;
    let said = Cmd::new(&path).args(["--version"]).read()?;
    // "promtool, version 2.42.0+ds (branch: …": the third word of whichever stream it chose.
    let version = said.split_whitespace().nth(2).unwrap_or("unknown").to_owned();
    Ok(Peer { name: PROMTOOL.name, version, origin })
}
