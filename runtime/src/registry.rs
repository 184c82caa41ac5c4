//! Uploaded operators: content-addressed, immutable, durable before the answer. Client names never become paths: a blob is
//! named by its digest, a version's record by names that were checked. Owns `DIR/registry`; never deletes anything.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use weir_core::ids::Name;

use crate::clock;
/// What those who serve a registry need of guests.
pub use crate::guest::{COMPONENT_BYTES_MAX, Engine};
use crate::guest::{Inspection, Operator, RefusedComponent};
use crate::{crash, durable, hex};

const VERSION_BYTES_MAX: usize = 64;

/// What is kept about a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Operator.
    pub name: String,
    /// Its version, semver.
    pub version: String,
    /// sha256 of its bytes, lower-case hex.
    pub sha256: String,
    /// Size.
    pub bytes: usize,
    /// Milliseconds since 1970.
    pub uploaded_at: i64,
}

/// Why an upload or a look-up failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not semver.
    #[error("{0:?} is not a version: versions are semver, such as 1.0.0")]
    BadVersion(String),
    /// The component was refused.
    #[error(transparent)]
    Refused(#[from] RefusedComponent),
    /// The version exists with other bytes.
    #[error("{name}@{version} exists with sha256 {existing}; a version never changes: upload another version")]
    Immutable {
        /// Operator.
        name: Name,
        /// Version.
        version: String,
        /// Digest that it has.
        existing: String,
    },
    /// Not there.
    #[error("there is no operator {0}")]
    Unknown(String),
    /// The disk.
    #[error("registry: {path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A record that cannot be read, or a blob whose bytes are not those that its name says.
    #[error("registry: {} is damaged: {why}; it is left as it is: put a good copy there, or move it away, and start again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
}

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The record.
    pub version: Version,
    /// What the component is.
    pub inspection: Inspection,
    /// Whether it is new; the same bytes again change nothing.
    pub created: bool,
}

/// See the module.
pub struct Registry {
    folder: PathBuf,
    engine: Engine,
    versions: Mutex<BTreeMap<(String, String), Version>>,
    /// Records that cannot be read, by the `name@version` that their files say, and why.
    damaged: BTreeMap<String, String>,
}

impl Registry {
    /// Opens or makes the registry. A record that cannot be read is no reason to do without the others.
    pub fn open(folder: &Path, engine: Engine) -> Result<Registry, Error> {
        for name in ["blobs", "versions"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(|source| Error::Io { path, source })?;
        }
        let (mut versions, mut damaged) = (BTreeMap::new(), BTreeMap::new());
        let path = folder.join("versions");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        for entry in fs::read_dir(&path).map_err(io(&path))? {
            let path = entry.map_err(io(&path))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let read = fs::read(&path).map_err(|e| e.to_string());
            let read = read.and_then(|bytes| serde_json::from_slice::<Version>(&bytes).map_err(|e| e.to_string()));
            let read = read.and_then(|version| match id(&version.name, &version.version) {
                id if id == stem => Ok(version),
                id => Err(format!("it holds {id}, which is not its name")),
            });
            match read {
                Ok(version) => drop(versions.insert((version.name.clone(), version.version.clone()), version)),
                Err(why) => {
                    tracing::error!("{}", Error::Damaged { path, why: why.clone() });
                    damaged.insert(stem, why);
                }
            }
        }
        Ok(Registry { folder: folder.to_owned(), engine, versions: Mutex::new(versions), damaged })
    }

    /// The engine that components are compiled for.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Checks and keeps a component. When it returns, the version survives a power cut.
    pub fn put(&self, name: &Name, version: &str, bytes: &[u8]) -> Result<Uploaded, Error> {
        // The length: it becomes part of a file's name.
        let semver = semver::Version::parse(version).ok().filter(|_| version.len() <= VERSION_BYTES_MAX);
        let semver = semver.ok_or_else(|| Error::BadVersion(version.to_owned()))?;
        self.is_whole(|damaged| damaged == id(name.as_str(), &semver.to_string()))?;
        let operator = Operator::load(&self.engine, bytes)?;
        let inspection = operator.inspection().clone();
        let key = (name.to_string(), semver.to_string());
        // Held over the writing: of two uploads of one version, the second sees the first.
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(existing) = versions.get(&key) {
            if existing.sha256 != inspection.sha256 {
                let (version, existing) = (semver.to_string(), existing.sha256.clone());
                return Err(Error::Immutable { name: name.clone(), version, existing });
            }
            return Ok(Uploaded { version: existing.clone(), inspection, created: false });
        }
        let record = Version {
            name: key.0.clone(),
            version: key.1.clone(),
            sha256: inspection.sha256.clone(),
            bytes: bytes.len(),
            uploaded_at: clock::now_millis(),
        };
        // Order: the bytes are durable before the record that names them.
        self.write(&self.blob(&record.sha256), bytes)?;
        let json = serde_json::to_vec_pretty(&record).expect("a record is strings and numbers");
        self.write(&self.record(&id(&key.0, &key.1)), &json)?;
        versions.insert(key, record.clone());
        Ok(Uploaded { version: record, inspection, created: true })
    }

    /// All versions, by name, then by version as semver orders them.
    pub fn list(&self, name: Option<&str>) -> Vec<Version> {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<Version> = versions.values().filter(|v| name.is_none_or(|n| v.name == n)).cloned().collect();
        let order = |v: &Version| (v.name.clone(), semver::Version::parse(&v.version).ok());
        list.sort_by_key(order);
        list
    }

    /// One version: exact, or the newest that `version` asks for as a semver requirement (`1`, `1.2`).
    pub fn get(&self, name: &str, version: &str) -> Result<Version, Error> {
        // One that a shortened version might mean counts too: a pipeline must not get an older one in silence.
        let prefix = id(name, version);
        self.is_whole(|damaged| match damaged.strip_prefix(&prefix) {
            Some(rest) => rest.is_empty() || rest.starts_with('.'),
            None => false,
        })?;
        let list = self.list(Some(name));
        let exact = list.iter().find(|v| v.version == version);
        let newest = || {
            // Three numbers are one version, not "this or a compatible one": what a pipeline pins never moves.
            if semver::Version::parse(version).is_ok() {
                return None;
            }
            let wanted = semver::VersionReq::parse(version).ok()?;
            list.iter().rev().find(|v| semver::Version::parse(&v.version).is_ok_and(|v| wanted.matches(&v)))
        };
        exact.or_else(newest).cloned().ok_or_else(|| {
            let there: Vec<String> = list.iter().map(|v| v.version.clone()).collect();
            let there = if there.is_empty() { String::new() } else { format!("; there are: {}", there.join(", ")) };
            Error::Unknown(format!("{name}@{version}{there}"))
        })
    }

    /// The bytes of a version, checked against their digest.
    pub fn bytes(&self, version: &Version) -> Result<Vec<u8>, Error> {
        let path = self.blob(&version.sha256);
        let bytes = fs::read(&path).map_err(|source| Error::Io { path, source })?;
        match hex::sha256(&bytes) == version.sha256 {
            true => Ok(bytes),
            false => {
                let why = format!("these are not the bytes of {}", id(&version.name, &version.version));
                Err(Error::Damaged { path: self.blob(&version.sha256), why })
            }
        }
    }

    /// What a pipeline file calls `name@version`.
    pub fn lookup(&self, name: &Name, version: &str) -> Result<Vec<u8>, String> {
        let found = self.get(name.as_str(), version).map_err(|e| e.to_string())?;
        self.bytes(&found).map_err(|e| e.to_string())
    }

    /// Complains about a damaged record that is wanted.
    fn is_whole(&self, wanted: impl Fn(&str) -> bool) -> Result<(), Error> {
        match self.damaged.iter().find(|(damaged, _)| wanted(damaged)) {
            Some((damaged, why)) => Err(Error::Damaged { path: self.record(damaged), why: why.clone() }),
            None => Ok(()),
        }
    }

    fn record(&self, id: &str) -> PathBuf {
        self.folder.join("versions").join(format!("{id}.json"))
    }

    fn blob(&self, sha256: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{sha256}.wasm"))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let staged = durable::stage(path, bytes).map_err(io)?;
        crash::point("upload.tmp_written");
        staged.name().map_err(io)?;
        crash::point("upload.renamed");
        Ok(())
    }
}

/// What users call a version, and what its record is called.
fn id(name: &str, version: &str) -> String {
    format!("{name}@{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(folder: &Path, version: &str) -> PathBuf {
        let path = folder.join("versions").join(format!("count@{version}.json"));
        let record = Version {
            name: "count".to_owned(),
            version: version.to_owned(),
            sha256: "00".to_owned(),
            bytes: 1,
            uploaded_at: 0,
        };
        fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        path
    }

    #[test]
    fn a_damaged_record_costs_its_own_version_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("versions")).unwrap();
        kept(dir.path(), "1.0.0");
        let damaged = kept(dir.path(), "1.1.0");
        fs::write(&damaged, "{\"name\": \"co").unwrap();
        fs::copy(kept(dir.path(), "2.0.0"), dir.path().join("versions/other@2.0.0.json")).unwrap();
        let registry = Registry::open(dir.path(), Engine::new(1).unwrap()).unwrap();
        let versions: Vec<String> = registry.list(None).into_iter().map(|version| version.version).collect();
        assert_eq!(versions, ["1.0.0", "2.0.0"]);
        assert_eq!(registry.get("count", "1.0.0").unwrap().version, "1.0.0");
        assert_eq!(registry.get("count", "2").unwrap().version, "2.0.0");
        // What might mean it is not answered with an older one.
        for version in ["1.1.0", "1.1", "1"] {
            let refused = registry.get("count", version).unwrap_err().to_string();
            assert!(refused.contains("count@1.1.0.json is damaged: EOF"), "{version}: {refused}");
        }
        let refused = registry.get("other", "2.0.0").unwrap_err().to_string();
        assert!(refused.contains("it holds count@2.0.0"), "{refused}");
        let refused = registry.put(&Name::new("count").unwrap(), "1.1.0", b"").unwrap_err().to_string();
        assert!(refused.contains("is damaged"), "{refused}");
        assert_eq!(fs::read(&damaged).unwrap(), b"{\"name\": \"co", "it is left as it is");
    }
}
