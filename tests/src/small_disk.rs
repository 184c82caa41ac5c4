//! A disk of a few megabytes that a test fills and frees while weir runs on it: a tmpfs in a mount namespace of its own. It
//! goes with the process that holds it. Where no namespace can be made there is none, and the test says so.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::process::Weir;

/// See the module.
pub struct SmallDisk {
    folder: tempfile::TempDir,
    keeper: Child,
}

impl SmallDisk {
    /// Mounts it. `None`: not permitted here.
    pub fn mount(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = format!("mount -t tmpfs -o size={mebibytes}m none \"$0\" && echo ready && exec cat");
        let mut keeper = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", &script])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let _ = BufReader::new(keeper.stdout.take().expect("stdout is piped")).read_line(&mut line);
        let disk = Self { folder, keeper };
        (line == "ready\n").then_some(disk)
    }

    /// Its folder, as a process on it sees it.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The same folder as this process sees it.
    pub fn from_outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.folder.path().strip_prefix("/").expect("temporary folders have absolute paths"))
    }

    /// The same command, where the disk is mounted.
    pub fn on(&self, command: Weir) -> Weir {
        let target = self.keeper.id().to_string();
        let enter = ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &target];
        // The folder is entered anew: the one of before is not of this mount.
        command.through(&[&enter[..], &["sh", "-c", "cd \"$0\" && exec \"$@\""]].concat())
    }

    /// Takes what is left of it.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("the disk is mounted");
        for block in [1 << 16, 1 << 12, 1] {
            while ballast.write_all(&vec![0; block]).is_ok() {}
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("the disk was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.from_outside().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
