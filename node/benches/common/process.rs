//! Other processes: found, ended with us, and what they cost by the kernel's own account.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The kernel's USER_HZ: the unit of CPU time in /proc, 100 on every Linux architecture that Rust's std supports here.
const TICKS_PER_SECOND: f64 = 100.0;
const END_WITHIN: Duration = Duration::from_secs(20);

/// A process that ends with its guard: asked first, then killed.
pub struct Guard(Child);

impl Guard {
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// The process itself, for its standard streams.
    #[allow(dead_code, reason = "not every benchmark reads what its processes say")]
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let until = Instant::now() + END_WITHIN;
        while Instant::now() < until {
            if self.ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time of these processes so far, user and system.
pub fn cpu(pids: &[u32]) -> Duration {
    let ticks: f64 = pids.iter().map(|pid| ticks(*pid).unwrap_or(0.0)).sum();
    Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
}

fn ticks(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in brackets, may hold spaces; user and system time are the 12th and 13th field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<f64>().ok()? + system.parse::<f64>().ok()?)
}

/// Resident memory of a process. Units: MiB.
pub fn memory_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1_024.0)
}

/// The first of `count` neighbouring ports of which nobody holds one.
pub fn pick_ports(count: u16) -> u16 {
    let from = u16::try_from(std::process::id() % 8_000).unwrap_or(0) + 20_000;
    (from..32_000)
        .step_by(usize::from(count))
        .find(|first| (*first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()))
        .unwrap_or_else(|| panic!("no {count} free ports in a row from {from}"))
}

/// A folder on the disk of the build folder, gone when dropped. `/tmp` may be memory, where fsync costs nothing.
pub fn temp_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A peer that `cargo xtask bench` found; without xtask, whatever PATH holds.
pub fn program(name: &str) -> PathBuf {
    match std::env::var_os("ONLY1MCP_PEERS") {
        Some(peers) => Path::new(&peers).join("bin").join(name),
        None => PathBuf::from(name),
    }
}
