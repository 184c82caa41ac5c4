//! A store in a folder of this machine: names are paths below it. Owns the order of fsyncs and renames; a file is taken in
//! and brought out without a copy.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Entry, Error, Storage};
use crate::{crash, durable};

/// See the module.
#[derive(Debug, Clone)]
pub struct Local {
    root: PathBuf,
    staging: PathBuf,
}

impl Local {
    /// A store in this folder. Touches nothing.
    pub fn new(root: &Path) -> Local {
        // Where files are adopted to: giving one its name is then a rename in one folder.
        Local { root: root.to_owned(), staging: root.join("files") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder that a name lies in.
    fn folder_of<'a>(&'a self, path: &'a Path) -> &'a Path {
        path.parent().unwrap_or(&self.root)
    }
}

impl Storage for Local {
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(name);
        let (folder, temporary) = (self.folder_of(&path), path.with_added_extension("tmp"));
        match fs::create_dir(folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Error::write("creating", folder, e)),
            _ => {}
        }
        // Whoever makes the temporary file is alone at this name: the look at the name holds until the rename.
        let mut file = match File::create_new(&temporary) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(Error::Exists(temporary)),
            Err(e) => {
                let _ = fs::remove_dir(folder);
                return Err(Error::write("writing", &temporary, e));
            }
        };
        if path.exists() {
            let _ = fs::remove_file(&temporary);
            return Err(Error::Exists(path));
        }
        if let Err(e) = file.write_all(bytes) {
            let _ = fs::remove_file(&temporary);
            let _ = fs::remove_dir(folder);
            return Err(Error::write("writing", &temporary, e));
        }
        crash::point("manifest.tmp_written");
        // Order: the content is durable before its name, and the name before that of its folder.
        file.sync_all().map_err(|e| Error::fatal("fsync of", &temporary, e))?;
        crash::point("manifest.fsynced");
        fs::rename(&temporary, &path).map_err(|e| Error::fatal("renaming", &temporary, e))?;
        crash::point("manifest.renamed");
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.root)) {
            durable::sync_folder(folder).map_err(|e| Error::fatal("fsync of", folder, e))?;
        }
        crash::point("dir.fsynced");
        Ok(())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(name);
        fs::write(&path, bytes).map_err(|e| Error::write("writing", &path, e))
    }

    fn adopt(&self, file: &Path, name: &str) -> Result<(), Error> {
        // Its times may be lost in a power cut. RocksDB has synced its files in the same way, and for those this costs little.
        let synced = File::open(file).and_then(|file| file.sync_data());
        synced.map_err(|e| Error::fatal("fsync of", file, e))?;
        fs::rename(file, self.path(name)).map_err(|e| Error::write("naming", file, e))
    }

    fn sync(&self, folder: &str) -> Result<(), Error> {
        let folder = self.path(folder);
        durable::sync_folder(&folder).map_err(|e| Error::fatal("fsync of", &folder, e))
    }

    fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        let path = self.path(name);
        match fs::metadata(&path).map_err(|e| Error::read(&path, e)) {
            Ok(found) => Ok(Some(found.len())),
            Err(Error::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        fs::read(&path).map_err(|e| Error::read(&path, e))
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        let wanted = range.end.saturating_sub(range.start);
        let mut bytes = Vec::with_capacity(wanted.min(1 << 20) as usize);
        let read = File::open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(range.start))?;
            file.take(wanted).read_to_end(&mut bytes)
        });
        read.map_err(|e| Error::read(&path, e))?;
        Ok(bytes)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, Error> {
        let folder = self.path(folder);
        let failed = |e| Error::fatal("listing", &folder, e);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let metadata = match fs::metadata(entry.path()) {
                Ok(metadata) => metadata,
                // Gone since: whoever runs the pipeline deletes while others look.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            let bytes = (!metadata.is_dir()).then_some(metadata.len());
            found.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), bytes });
        }
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn delete(&self, name: &str) -> Result<bool, Error> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::fatal("removing", &path, e)),
        }
    }

    fn delete_folder(&self, folder: &str) -> Result<(), Error> {
        let folder = self.path(folder);
        match fs::remove_dir(&folder) {
            // Something that is not ours stays, and so does its folder.
            Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                Err(Error::fatal("removing", &folder, e))
            }
            _ => Ok(()),
        }
    }

    fn bring_out(&self, name: &str, to: &Path) -> Result<(), Error> {
        let path = self.path(name);
        match fs::hard_link(&path, to) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !path.exists() => Err(Error::Missing(path)),
            linked => linked.map_err(|e| Error::write("linking", &path, e)),
        }
    }

    fn staging(&self) -> &Path {
        &self.staging
    }

    fn place(&self, name: &str) -> PathBuf {
        self.path(name)
    }
}
