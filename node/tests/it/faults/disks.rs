//! Small file systems for data folders: one that can be full, and one that forgets what was not synced, and can break.

use std::path::{Path, PathBuf};
use std::process::Command;

const PAGE_BYTES: u64 = 4_096;
/// What is left of a disk that breaks.
const BROKEN_BYTES: u64 = 16 << 10;

/// Unmounted when dropped.
pub struct Disk {
    at: PathBuf,
    /// What a disk that lives in a file was made of.
    image: Option<PathBuf>,
}

impl Disk {
    /// In memory, of so many bytes.
    pub fn small(at: &Path, bytes: u64) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={bytes},mode=0700");
        run("mount", &["-t", "tmpfs", "-o", &size, "only1mcp-it", &text(at)]);
        Self { at: at.to_owned(), image: None }
    }

    /// A file system of its own in the file `image`. What was synced is in that file; what was not is in memory only,
    /// for the longest time that the kernel allows.
    pub fn forgetful(at: &Path, image: &Path, bytes: u64) -> Self {
        std::fs::create_dir_all(at).unwrap();
        std::fs::File::create(image).unwrap().set_len(bytes).unwrap();
        let fixed = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        run("mkfs.ext4", &[&fixed[..], &[&text(image)]].concat());
        let disk = Self { at: at.to_owned(), image: Some(image.to_owned()) };
        disk.mount();
        std::fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        run("sync", &["-f", &text(at)]);
        disk
    }

    fn mount(&self) {
        let image = self.image.as_ref().expect("a disk in a file");
        // Nothing is written before its time: not the file system's journal, and no file's content ahead of it.
        run("mount", &["-o", "loop,commit=3600", &text(image), &text(&self.at)]);
    }

    /// What the disk holds at this moment: what was written to it, as a cut of the power would leave it. Whoever writes
    /// there must stand still.
    pub fn photograph(&self) {
        let image = self.image.as_ref().expect("a disk in a file");
        run("cp", &["--sparse=always", &text(image), &text(&photograph_of(image))]);
    }

    /// All that was written is on the disk.
    pub fn sync(&self) {
        run("sync", &["-f", &text(&self.at)]);
    }

    /// From now on every read and write but of the disk's first pages is answered with EIO: the file ends there, and the
    /// device over it is told so.
    pub fn break_off(&self) {
        let image = self.image.as_ref().expect("a disk in a file");
        std::fs::OpenOptions::new().write(true).open(image).unwrap().set_len(BROKEN_BYTES).unwrap();
        let devices =
            Command::new("losetup").args(["-n", "-O", "NAME", "-j", &text(image)]).output().unwrap();
        let devices = String::from_utf8(devices.stdout).unwrap();
        assert!(!devices.trim().is_empty(), "no device over {}", image.display());
        for device in devices.split_whitespace() {
            run("losetup", &["-c", device]);
        }
    }

    /// Puts the disk back to that, once nobody uses it any more.
    pub fn lose_power(&self) {
        let image = self.image.as_ref().expect("a disk in a file");
        run("umount", &[&text(&self.at)]);
        std::fs::rename(photograph_of(image), image).unwrap();
        self.mount();
    }

    /// Takes all the space there is but so many bytes, until [`Disk::free_up`].
    pub fn fill(&self, but: u64) {
        let stat = rustix::fs::statvfs(&self.at).unwrap();
        let free = stat.f_bavail * stat.f_frsize;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(self.filler()).unwrap();
        let length = file.metadata().unwrap().len();
        // Whole pages; what others take meanwhile is no less full.
        let more = free.saturating_sub(but) / PAGE_BYTES * PAGE_BYTES;
        if more > 0 {
            let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), length, more);
        }
    }

    pub fn free_up(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn photograph_of(image: &Path) -> PathBuf {
    image.with_extension("photograph")
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {}: {said}", args.join(" "));
}
