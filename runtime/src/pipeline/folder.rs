//! The state folder of one pipeline: its layout, its lock and its `format` file. Refuses a folder that is not this
//! pipeline's, before it touches anything. Knows nothing of what the snapshots hold.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_core::ids::Name;

use crate::{clock, durable, hex};

/// The version of the layout that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// Why a state folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A running process has it: exit 7.
    #[error(
        "the state folder {} is in use{}: stop that process, or give this one another --state",
        path.display(), pid.map_or(String::new(), |pid| format!(" by process {pid}"))
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who holds the lock, as far as the lock file tells.
        pid: Option<u32>,
    },
    /// It belongs to another pipeline: exit 6.
    #[error("the state folder {} belongs to the pipeline {found}, not to {wanted}: give another --state", path.display())]
    OtherPipeline {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: Name,
        /// Who asked.
        wanted: Name,
    },
    /// Written by a newer weir: exit 6.
    #[error("the state folder {} has format {found}, this weir reads up to {VERSION}: use the newer weir that wrote it", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Something else lives there: exit 6.
    #[error("{} is not a state folder of weir: it holds {found:?}; give an empty or a new folder as --state", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What was found in it.
        found: String,
    },
    /// Its `format` file cannot be read: exit 6.
    #[error("{} is damaged: {detail}; nothing was changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        detail: String,
    },
    /// The file system refuses.
    #[error("{action} {} failed", path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A locked state folder. The lock is held for as long as this lives, and ends with the process in any case.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lineage: String,
    process: String,
    _lock: File,
}

/// What `format` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Format {
    version: u32,
    pipeline: Name,
    /// Milliseconds since 1970, for people.
    created: i64,
    /// Random: tells this pipeline from another of its name.
    lineage: String,
}

/// Read before anything else of the file is.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Folder {
    /// Takes the folder of `pipeline`; makes it if it is not there. Nothing is touched unless it is this pipeline's, or
    /// new, or empty.
    pub fn open(path: &Path, pipeline: &Name) -> Result<Folder, Error> {
        let known = Folder::inspect(path, pipeline)?;
        fs::create_dir_all(path).map_err(io_error("creating", path))?;
        let lock = lock(path)?;
        // Another process may have made the folder its own between the look and the lock.
        if !known && !Folder::inspect(path, pipeline)? {
            write_format(path, pipeline)?;
        }
        let io = io_error("reading", path);
        let process = hex::random::<16>().map_err(io)?;
        let folder = Folder { path: path.to_owned(), lineage: read_lineage(path)?, process, _lock: lock };
        for dir in [folder.checkpoints(), folder.files(), folder.live()] {
            fs::create_dir_all(&dir).map_err(io_error("creating", &dir))?;
        }
        folder.remove_leftovers().and_then(|()| durable::sync_folder(path)).map_err(io_error("tidying", path))?;
        Ok(folder)
    }

    /// Temporary files of a process that was killed while it wrote one. Nobody else writes here: the lock is held.
    fn remove_leftovers(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if is_leftover(&entry.file_name()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether the folder is this pipeline's (true) or may become so (false). Touches nothing and takes no lock.
    pub fn inspect(path: &Path, pipeline: &Name) -> Result<bool, Error> {
        let format = path.join("format");
        let bytes = match fs::read(&format) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return refuse_foreign(path).map(|()| false),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                return Err(Error::Foreign { path: path.to_owned(), found: "a file".into() });
            }
            Err(e) => return Err(io_error("reading", &format)(e)),
        };
        let damaged = |e: serde_json::Error| Error::Damaged { path: format.clone(), detail: e.to_string() };
        let Version { version } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if version > VERSION {
            return Err(Error::Newer { path: path.to_owned(), found: version });
        }
        let Format { pipeline: found, .. } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if found != *pipeline {
            return Err(Error::OtherPipeline { path: path.to_owned(), found, wanted: pipeline.clone() });
        }
        Ok(true)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Random id of the pipeline's first start.
    pub fn lineage(&self) -> &str {
        &self.lineage
    }

    /// Random id of this process' hold on the folder.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// One folder per snapshot, and `files`.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// State files, by token and content.
    pub fn files(&self) -> PathBuf {
        self.checkpoints().join("files")
    }

    /// Disposable: rebuilt at each start.
    pub fn live(&self) -> PathBuf {
        self.path.join("live")
    }

    /// The file of the authority `CURRENT`.
    pub fn current(&self) -> PathBuf {
        self.path.join("CURRENT")
    }
}

/// A folder without `format` is ours to take if it is empty, or if we died while we took it.
fn refuse_foreign(path: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::Foreign { path: path.to_owned(), found: "a file".into() });
        }
        Err(e) => return Err(io_error("listing", path)(e)),
    };
    for entry in entries {
        let name = entry.map_err(io_error("listing", path))?.file_name();
        if name != "lock" && !is_leftover(&name) {
            return Err(Error::Foreign { path: path.to_owned(), found: name.to_string_lossy().into_owned() });
        }
    }
    Ok(())
}

/// What `durable` leaves of `format` or `CURRENT` when it is killed.
fn is_leftover(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    (name.starts_with("format.") || name.starts_with("CURRENT.")) && name.ends_with(".tmp")
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(io_error("opening", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            return Err(Error::Locked { path: folder.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(e)) => return Err(io_error("locking", &path)(e)),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(io_error("writing", &path))?;
    Ok(file)
}

fn write_format(folder: &Path, pipeline: &Name) -> Result<(), Error> {
    let lineage = hex::random::<16>().map_err(io_error("writing", &folder.join("format")))?;
    let format = Format { version: VERSION, pipeline: pipeline.clone(), created: clock::now_millis(), lineage };
    let mut bytes = serde_json::to_vec(&format).map_err(|e| Error::Io {
        action: "writing",
        path: folder.join("format"),
        source: e.into(),
    })?;
    bytes.push(b'\n');
    let path = folder.join("format");
    durable::write(&path, &bytes).map_err(io_error("writing", &path))
}

fn read_lineage(folder: &Path) -> Result<String, Error> {
    let path = folder.join("format");
    let bytes = fs::read(&path).map_err(io_error("reading", &path))?;
    let format: Format =
        serde_json::from_slice(&bytes).map_err(|e| Error::Damaged { path: path.clone(), detail: e.to_string() })?;
    Ok(format.lineage)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// Everything below a folder with its content, to see that nothing was touched.
    fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found: Vec<_> = (fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()))
            .flat_map(|p| if p.is_dir() { content(&p) } else { vec![(p.clone(), fs::read(&p).unwrap())] })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn a_new_folder_is_taken_and_opened_again_by_its_pipeline() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("a/.weir/a");
        drop(Folder::open(&path, &name("a")).unwrap());
        let folder = Folder::open(&path, &name("a")).unwrap();
        assert!(folder.files().is_dir() && folder.live().is_dir());
    }

    #[test]
    fn a_locked_folder_names_the_process_that_has_it() {
        let dir = tempdir().unwrap();
        let held = Folder::open(dir.path(), &name("a")).unwrap();
        match Folder::open(dir.path(), &name("a")) {
            Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        Folder::open(dir.path(), &name("a")).unwrap();
    }

    #[test]
    fn a_folder_locked_by_another_process_is_refused_until_that_process_is_gone() {
        let dir = tempdir().unwrap();
        drop(Folder::open(dir.path(), &name("a")).unwrap());
        let lock = dir.path().join("lock");
        // Without a fork: one process holds the lock, and ends when it is killed.
        let mut holder = std::process::Command::new("flock")
            .args(["--no-fork".as_ref(), lock.as_os_str(), "sh".as_ref(), "-c".as_ref()])
            .arg("echo ready; exec sleep 600")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("flock of util-linux");
        let mut ready = [0; 5];
        holder.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        assert!(matches!(Folder::open(dir.path(), &name("a")), Err(Error::Locked { .. })));
        holder.kill().unwrap();
        holder.wait().unwrap();
        let deadline = clock::now() + std::time::Duration::from_secs(10);
        while Folder::open(dir.path(), &name("a")).is_err() {
            assert!(clock::now() < deadline, "the lock of a dead process is free");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_not_this_pipelines_is_refused_by_name_and_not_touched() {
        let check = |prepare: &dyn Fn(&Path), expected: &str| {
            let dir = tempdir().unwrap();
            prepare(dir.path());
            let before = content(dir.path());
            let error = Folder::open(dir.path(), &name("a")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(content(dir.path()), before);
        };
        let format = |text: &'static str| move |dir: &Path| fs::write(dir.join("format"), text).unwrap();
        check(&|dir| drop(Folder::open(dir, &name("b")).unwrap()), "belongs to the pipeline b, not to a");
        check(&format(r#"{"version": 2, "pipeline": 7}"#), "has format 2, this weir reads up to 1");
        check(&format("{}"), "format is damaged: missing field `version`");
        check(&format("x"), "format is damaged");
        check(&|dir| fs::write(dir.join("thesis.tex"), "x").unwrap(), "it holds \"thesis.tex\"");
    }

    #[test]
    fn a_start_that_died_before_the_format_was_written_is_taken_up() {
        let dir = tempdir().unwrap();
        fs::write(dir.path().join("lock"), "1\n").unwrap();
        fs::write(dir.path().join("format.x1.tmp"), "{").unwrap();
        Folder::open(dir.path(), &name("a")).unwrap();
        assert!(!dir.path().join("format.x1.tmp").exists());
        assert!(Folder::inspect(dir.path(), &name("a")).unwrap());
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_refused() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "x").unwrap();
        assert!(matches!(Folder::open(&path, &name("a")), Err(Error::Foreign { .. })));
    }
}
