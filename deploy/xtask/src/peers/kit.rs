//! The `.peers/` folder: installs that are whole or absent, starters that survive a moved checkout, the record.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Peer;

/// The folder of peers, open for installing.
pub struct Kit {
    dir: PathBuf,
}

impl Kit {
    pub fn open(dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(dir.join("bin")).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { dir })
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.join(inside)
    }

    /// Makes the folder `name` by `install`, unless it is there and was made from the same `recipe`.
    /// A half-made folder (an install that failed or was interrupted) is made anew.
    pub fn install(
        &self,
        name: &str,
        recipe: &str,
        install: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let dir = self.path(name);
        let stamp = dir.join(".made-from");
        if fs::read_to_string(&stamp).is_ok_and(|text| text == recipe) {
            return Ok(dir);
        }
        if dir.exists() {
            fs::remove_dir_all(&dir)
                .with_context(|| format!("cannot remove the outdated {}", dir.display()))?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        install(&dir)?;
        fs::write(&stamp, recipe).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(dir)
    }

    /// Writes `bin/NAME`, a script that starts `program` with `args` and whatever it is given.
    /// Paths inside the kit are written relative to it.
    pub fn starter(&self, name: &str, program: &Path, args: &[&Path]) -> Result<()> {
        let args: String = args.iter().map(|arg| format!(" {}", self.quoted(arg))).collect();
        self.script(name, &format!("exec {}{args}", self.quoted(program)))
    }

    /// The same for a program that finds its shared libraries in a folder of the kit.
    pub fn starter_with_libraries(&self, name: &str, program: &Path, libraries: &Path) -> Result<()> {
        let line = format!("LD_LIBRARY_PATH={} exec {}", self.quoted(libraries), self.quoted(program));
        self.script(name, &line)
    }

    fn script(&self, name: &str, line: &str) -> Result<()> {
        let script =
            format!("#!/bin/sh\nkit=$(cd \"$(dirname \"$0\")/..\" && pwd) || exit 127\n{line} \"$@\"\n");
        let file = self.path("bin").join(name);
        if fs::read_to_string(&file).is_ok_and(|text| text == script) {
            return Ok(());
        }
        fs::write(&file, script).with_context(|| format!("cannot write {}", file.display()))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("cannot make {} executable", file.display()))?;
        }
        Ok(())
    }

    fn quoted(&self, path: &Path) -> String {
        match path.strip_prefix(&self.dir) {
            Ok(inside) => format!("\"$kit\"/{}", single(&inside.to_string_lossy())),
            Err(_) => single(&path.to_string_lossy()),
        }
    }

    /// Writes `peers.json`: what was found, in which version, from where.
    pub fn record(&self, found: &[Peer]) -> Result<()> {
        let peers: serde_json::Map<String, serde_json::Value> = found
            .iter()
            .map(|peer| {
                let about = serde_json::json!({ "version": peer.version, "origin": peer.origin });
                (peer.name.to_owned(), about)
            })
            .collect();
        let text =
            serde_json::to_string_pretty(&peers).context("the record of peers cannot be written as JSON")?;
        let file = self.path("peers.json");
        fs::write(&file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }
}

fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starters_point_into_the_kit_by_relative_path() {
        let kit = Kit { dir: PathBuf::from("/some where/.peers") };
        assert_eq!(kit.quoted(Path::new("/some where/.peers/node/bin/node")), "\"$kit\"/'node/bin/node'");
        assert_eq!(kit.quoted(Path::new("/usr/bin/it's")), r"'/usr/bin/it'\''s'");
    }
}
