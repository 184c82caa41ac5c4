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
    /// A blob whose bytes are not those that its name says.
    #[error("the stored bytes of {0} are damaged: their sha256 is not its name")]
    Damaged(String),
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
}

impl Registry {
    /// Opens or makes the registry.
    pub fn open(folder: &Path, engine: Engine) -> Result<Registry, Error> {
        for name in ["blobs", "versions"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(|source| Error::Io { path, source })?;
        }
        let mut versions = BTreeMap::new();
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
            let bytes = fs::read(&path).map_err(io(&path))?;
            let version: Version = serde_json::from_slice(&bytes).map_err(|e| io(&path)(e.into()))?;
            versions.insert((version.name.clone(), version.version.clone()), version);
        }
        Ok(Registry { folder: folder.to_owned(), engine, versions: Mutex::new(versions) })
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
        self.write(&self.folder.join("versions").join(format!("{}@{}.json", key.0, key.1)), &json)?;
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
            false => Err(Error::Damaged(format!("{}@{}", version.name, version.version))),
        }
    }

    /// What a pipeline file calls `name@version`.
    pub fn lookup(&self, name: &Name, version: &str) -> Result<Vec<u8>, String> {
        let found = self.get(name.as_str(), version).map_err(|e| e.to_string())?;
        self.bytes(&found).map_err(|e| e.to_string())
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
