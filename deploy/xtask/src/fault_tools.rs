//! What fault tests break networks and disks with: found on PATH, else installed from the distribution's packages.

use anyhow::{Context, Result, bail};

use crate::run::{self, Cmd, say};

/// Programs and the Debian packages that hold them.
const TOOLS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("losetup", "mount"),
];

/// Finds or installs every tool. To be called as root.
/// Errors: a tool that cannot be had, with what to do about it.
pub fn ensure() -> Result<()> {
    let missing = missing(|program| run::which(program).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if run::which("apt-get").is_none() {
        bail!("`test --faults` needs some programs on PATH: install {packages} (Debian's names)");
    }
    say(&format!("installing {packages}: fault tests break networks and disks with them"));
    let install = || {
        let fixed = ["install", "-y", "-q", "--no-install-recommends"];
        Cmd::new("apt-get").args(fixed).args(&missing).env("DEBIAN_FRONTEND", "noninteractive").quiet()
    };
    if install().is_ok() {
        return Ok(());
    }
    // On a machine whose package lists were never fetched, they come first.
    Cmd::new("apt-get").args(["update", "-q"]).quiet()?;
    install().with_context(|| format!("apt-get cannot install {packages}; install them by hand"))
}

/// The packages to install.
fn missing(found: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<&str> =
        TOOLS.iter().filter(|(program, _)| !found(program)).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert_eq!(missing(|_| true), Vec::<&str>::new());
        assert_eq!(missing(|program| program != "nft"), ["nftables"]);
        assert_eq!(missing(|_| false), ["iproute2", "nftables", "e2fsprogs", "mount"]);
    }
}
