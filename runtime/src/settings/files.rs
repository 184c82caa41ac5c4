//! Which files of a server's machine the pipelines of others may name: as file sources and sinks, and for savepoints. Looks at
//! paths and opens nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// Of the machine, not of anybody's data.
const SYSTEM: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Memory that is used as a folder.
const SHARED_MEMORY: &str = "/dev/shm";

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Folders that a file must lie below; with none, it may lie anywhere.
    pub folders: Vec<PathBuf>,
    /// Files and folders that are the server's alone, whatever `folders` says, with what they are.
    pub own: Vec<(PathBuf, &'static str)>,
}

impl Files {
    /// Why no pipeline may use this path, whose links were followed; nothing where one may. Reads as the rest of a sentence
    /// that begins with the path.
    pub fn refusal(&self, path: &Path) -> Option<String> {
        let is_allowed = || self.folders.is_empty() || self.folders.iter().any(|folder| is_below(path, folder));
        let refused = || "lies in no folder that this server lets pipelines use".to_owned();
        self.keeps(path).or_else(|| (!is_allowed()).then(refused))
    }

    /// The same, whatever `folders` says.
    pub fn keeps(&self, path: &Path) -> Option<String> {
        let own = self.own.iter().find(|(own, _)| is_below(path, own)).map(|(_, what)| *what);
        let is_system = |system: &&str| path.starts_with(system) && !path.starts_with(SHARED_MEMORY);
        let kept = own.or_else(|| SYSTEM.into_iter().find(is_system));
        kept.map(|what| format!("lies in {what}, which no pipeline may read or write"))
    }
}

/// A folder that is moved, or a link to it that is, counts where it is now.
fn is_below(path: &Path, folder: &Path) -> bool {
    match fs::canonicalize(folder) {
        Ok(folder) => path.starts_with(folder),
        Err(_) => path.starts_with(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_own_and_the_system_are_nobody_s_and_folders_bound_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("streams/secrets")).unwrap();
        std::os::unix::fs::symlink(root.join("streams"), root.join("link")).unwrap();
        let own = vec![(root.join("streams/secrets"), "the server's secrets")];
        let mut files = Files { folders: Vec::new(), own };
        let refusal = |files: &Files, path: &str| files.refusal(&root.join(path)).unwrap_or_default();
        assert_eq!(refusal(&files, "anywhere"), "");
        assert_eq!(refusal(&files, "/dev/shm/out"), "");
        assert!(refusal(&files, "/proc/self/environ").starts_with("lies in /proc, "));
        assert!(refusal(&files, "/dev/zero").starts_with("lies in /dev, "));
        files.folders.push(root.join("link"));
        assert_eq!(refusal(&files, "streams/in.jsonl"), "");
        assert_eq!(refusal(&files, "streams-of-others"), "lies in no folder that this server lets pipelines use");
        assert!(refusal(&files, "streams/secrets/key").starts_with("lies in the server's secrets, "));
    }
}
