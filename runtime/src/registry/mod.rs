//! Uploaded operators: content-addressed, immutable, durable before the answer. Client names never become paths: a blob is
//! named by its digest, a version's record by names that were checked. Owns `DIR/registry`; who uses a version is for others
//! to know.

mod change;
mod error;
mod upload;
mod version;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_core::ids::Name;

pub use self::change::Uploaded;
pub use self::error::Error;
pub use self::upload::{Received, Upload};
pub use self::version::Version;
use self::version::{Found, id};
use crate::guest::Operator;
/// What those who serve a registry need of guests.
pub use crate::guest::{COMPONENT_BYTES_MAX, Engine, Inspection};
use crate::{durable, hex};

/// See the module.
pub struct Registry {
    folder: PathBuf,
    engine: Engine,
    versions: Mutex<BTreeMap<(String, String), Version>>,
    /// Records that cannot be read, by the `name@version` that their files say, and why.
    damaged: BTreeMap<String, String>,
    /// All components together.
    bytes_max: u64,
}

impl Registry {
    /// Opens or makes the registry. A record that cannot be read is no reason to do without the others.
    pub fn open(folder: &Path, engine: Engine) -> Result<Registry, Error> {
        for name in ["blobs", "versions", "uploads"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(Error::io(&path))?;
        }
        let Found { versions, damaged } = version::read_all(&folder.join("versions"))?;
        let folder = folder.to_owned();
        Ok(Registry { folder, engine, versions: Mutex::new(versions), damaged, bytes_max: u64::MAX })
    }

    /// The same for the one process that writes to it, up to so many bytes: what a kill has left half-way goes.
    pub fn open_to_write(folder: &Path, engine: Engine, bytes_max: u64) -> Result<Registry, Error> {
        let registry = Registry { bytes_max, ..Registry::open(folder, engine)? };
        for folder in ["uploads", "versions"].map(|name| registry.folder.join(name)) {
            durable::remove_leftovers(&folder).map_err(Error::io(&folder))?;
        }
        registry.sweep()?;
        Ok(registry)
    }

    /// The engine that components are compiled for.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn versions(&self) -> MutexGuard<'_, BTreeMap<(String, String), Version>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a component that is about to come.
    pub fn receive(&self) -> Result<Upload, Error> {
        Upload::begin(&self.folder.join("uploads"))
    }

    /// Looks at a component as [`Registry::put`] does, and keeps nothing.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, Error> {
        Ok(Operator::load(&self.engine, bytes)?.inspection().clone())
    }

    /// All versions, by name, then by version as semver orders them.
    pub fn list(&self, name: Option<&str>) -> Vec<Version> {
        let versions = self.versions();
        let is_wanted = |v: &&Version| v.deleted_at.is_none() && name.is_none_or(|n| v.name == n);
        let mut list: Vec<Version> = versions.values().filter(is_wanted).cloned().collect();
        let order = |v: &Version| (v.name.clone(), semver::Version::parse(&v.version).ok());
        list.sort_by_key(order);
        list
    }

    /// One version by all of its name.
    pub fn exact(&self, name: &str, version: &str) -> Result<Version, Error> {
        self.is_whole(|damaged| damaged == id(name, version))?;
        let found = self.versions().get(&(name.to_owned(), version.to_owned())).cloned();
        found.filter(|version| version.deleted_at.is_none()).ok_or_else(|| self.unknown(name, version))
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
        exact.or_else(newest).cloned().ok_or_else(|| self.unknown(name, version))
    }

    fn unknown(&self, name: &str, version: &str) -> Error {
        let there: Vec<String> = self.list(Some(name)).into_iter().map(|v| v.version).collect();
        let there = if there.is_empty() { String::new() } else { format!("; there are: {}", there.join(", ")) };
        Error::Unknown(format!("{name}@{version}{there}"))
    }

    /// Bytes by their digest, checked against it.
    pub fn blob_bytes(&self, sha256: &str) -> Result<Vec<u8>, Error> {
        let path = self.blob(sha256);
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        match hex::sha256(&bytes) == sha256 {
            true => Ok(bytes),
            false => Err(Error::Damaged { path, why: "these are not the bytes that its name says".to_owned() }),
        }
    }

    /// Whether a version and its bytes are there still: whoever has checked them asks no more.
    pub fn has(&self, name: &str, version: &str, sha256: &str) -> Result<(), Error> {
        let record = self.versions().get(&(name.to_owned(), version.to_owned())).cloned();
        // Other versions may have the same bytes.
        if record.is_some_and(|record| record.deleted_at.is_some()) {
            return Err(self.unknown(name, version));
        }
        let path = self.blob(sha256);
        fs::metadata(&path).map(drop).map_err(Error::io(&path))
    }

    /// What a pipeline file calls `name@version`.
    pub fn lookup(&self, name: &Name, version: &str) -> Result<Vec<u8>, String> {
        let found = self.get(name.as_str(), version).map_err(|e| e.to_string())?;
        self.blob_bytes(&found.sha256).map_err(|e| e.to_string())
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
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::access::Actor;
    use crate::access::audit::Audit;

    fn kept(folder: &Path, version: &str) -> PathBuf {
        let path = folder.join("versions").join(format!("count@{version}.json"));
        let record = json!({"name": "count", "version": version, "sha256": "00", "bytes": 1, "uploaded_at": 0});
        fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        path
    }

    #[test]
    fn a_version_that_is_deleted_is_gone_though_another_has_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs")).unwrap();
        fs::create_dir(dir.path().join("versions")).unwrap();
        fs::write(dir.path().join("blobs/00.wasm"), "").unwrap();
        kept(dir.path(), "1.0.0");
        kept(dir.path(), "1.0.1");
        let registry = Registry::open(dir.path(), Engine::new(1).unwrap()).unwrap();
        let audit = Audit::open(&dir.path().join("audit.jsonl")).unwrap();
        registry.has("count", "1.0.0", "00").unwrap();
        registry.delete((&Actor::server(), &audit), "count", "1.0.0").unwrap();
        assert!(matches!(registry.has("count", "1.0.0", "00"), Err(Error::Unknown(_))));
        registry.has("count", "1.0.1", "00").unwrap();
        fs::remove_file(dir.path().join("blobs/00.wasm")).unwrap();
        assert!(matches!(registry.has("count", "1.0.1", "00"), Err(Error::Io { .. })));
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
        let audit = Audit::open(&dir.path().join("audit.jsonl")).unwrap();
        let received = registry.receive().unwrap().finish(None).unwrap();
        let put = registry.put((&Actor::server(), &audit), &Name::new("count").unwrap(), "1.1.0", received);
        let refused = put.unwrap_err().to_string();
        assert!(refused.contains("is damaged"), "{refused}");
        assert_eq!(fs::read(&damaged).unwrap(), b"{\"name\": \"co", "it is left as it is");
    }
}
