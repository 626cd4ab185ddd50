//! The programs that benchmarks measure beside ours. No test needs them, so that they are had when a benchmark asks.

use anyhow::Result;

use super::Peer;
use super::debian::{self, Program};
use super::kit::Kit;
use super::redis;
use crate::run::Cmd;

// The package holds the program itself since Debian 12; nginx-light and its kin are this and some modules.
const NGINX: Program = Program { name: "nginx", package: "nginx", path: "usr/sbin/nginx" };
const ETCD: Program = Program { name: "etcd", package: "etcd-server", path: "usr/bin/etcd" };

/// What the benchmark of that name compares with; nothing for most.
pub fn ensure(kit: &Kit, bench: &str) -> Result<Option<Peer>> {
    let (name, (path, origin), version_flag) = match bench {
        "gateway" => (NGINX.name, debian::ensure(kit, &NGINX)?, "-V"),
        "commit" => (ETCD.name, debian::ensure(kit, &ETCD)?, "--version"),
        "budgets" => (redis::NAME, redis::ensure(kit)?, "--version"),
        _ => return Ok(None),
    };
    // Started once before anything is built: an unpacked program may lack a library that its package would bring.
    let said =
        Cmd::new("sh").args(["-c", "exec \"$0\" \"$1\" 2>&1"]).args([&path]).args([version_flag]).read()?;
    Ok(Some(Peer { name, version: version_in(&said), origin }))
}

/// The first word that is a version: `nginx version: nginx/1.22.1`, `etcd Version: 3.4.23`, `Redis server v=7.0.15`.
fn version_in(said: &str) -> String {
    let word = |word: &str| {
        let last = word.rsplit(['/', '=']).next().unwrap_or(word);
        last.starts_with(|first: char| first.is_ascii_digit()).then(|| last.to_owned())
    };
    said.split_whitespace().find_map(word).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_version_in_what_programs_say() {
        assert_eq!(version_in("nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.8"), "1.22.1");
        assert_eq!(version_in("etcd Version: 3.4.23\nGit SHA: Not provided"), "3.4.23");
        assert_eq!(version_in("Redis server v=7.0.15 sha=00000000:0 bits=64"), "7.0.15");
        assert_eq!(version_in("no idea"), "unknown");
    }
}
