//! Programs from Debian's packages, unpacked without being installed: no root, and nothing of the system changes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::kit::Kit;
use crate::run::{self, Cmd, say};

/// A program and the package that holds it.
pub struct Program {
    pub name: &'static str,
    pub package: &'static str,
    /// Where in the package.
    pub path: &'static str,
}

/// Finds the program on PATH or among the system's own, or unpacks its package; and says where it came from.
pub fn ensure(kit: &Kit, program: &Program) -> Result<(PathBuf, String)> {
    let Program { name, package, path } = program;
    // Servers lie in a folder that is on root's PATH only.
    let system =
        run::which(name).or_else(|| Some(Path::new("/usr/sbin").join(name)).filter(|file| file.is_file()));
    let (found, origin) = match system {
        Some(found) => {
            let origin = format!("system, {}", found.display());
            (found, origin)
        }
        None => (unpack(kit, name, &[*package])?.join(path), format!("Debian package {package}")),
    };
    kit.starter(name, &found, &[])?;
    Ok((found, origin))
}

/// Unpacks packages into one folder, which is named after the first of them.
pub fn unpack(kit: &Kit, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let (all, first) = (packages.join(", "), packages.first().copied().unwrap_or(name));
    if run::which("apt-get").is_none() || run::which("dpkg").is_none() {
        bail!("{name} is not on PATH: install it (Debian: {all}) and put it on PATH");
    }
    kit.install(first, &format!("apt {}", packages.join(" ")), |dir| {
        say(&format!("unpacking {name} from Debian: {all}"));
        for package in packages {
            download(dir, package)?;
            let file = std::fs::read_dir(dir)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .find(|path| path.extension().is_some_and(|ext| ext == "deb"))
                .context("apt-get downloaded no package")?;
            Cmd::new("dpkg").dir(dir).args([Path::new("-x"), &file, dir]).quiet()?;
            std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        Ok(())
    })
}

/// Fetches the package file; on a machine whose package lists were never fetched, fetches those first.
fn download(dir: &Path, package: &str) -> Result<()> {
    let fetch = || Cmd::new("apt-get").dir(dir).args(["download", package]).quiet();
    if fetch().is_ok() {
        return Ok(());
    }
    if Cmd::new("id").args(["-u"]).read()? == "0" {
        Cmd::new("apt-get").args(["update"]).quiet()?;
    }
    fetch().with_context(|| {
        format!("apt-get cannot fetch the package `{package}`; as root, run `apt-get update` first")
    })
}
