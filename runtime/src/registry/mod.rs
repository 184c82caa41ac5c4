//! Uploaded operators: content-addressed, immutable, durable before the answer. Client names never become paths: a blob is
//! named by its digest, a version's record by names that were checked. Owns `DIR/registry`; who uses a version is for others
//! to know.

mod error;
mod upload;
mod version;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;
use weir_core::ids::Name;

pub use self::error::Error;
pub use self::upload::{Received, Upload};
pub use self::version::Version;
use self::version::{Found, id};
use crate::access::Actor;
use crate::access::audit::Audit;
use crate::guest::Operator;
/// What those who serve a registry need of guests.
pub use crate::guest::{COMPONENT_BYTES_MAX, Engine, Inspection};
use crate::{clock, crash, durable, hex};

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The record.
    pub version: Version,
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

    /// Checks and keeps a component. When it returns, the version survives a power cut.
    pub fn put(
        &self,
        (actor, audit): (&Actor, &Audit),
        name: &Name,
        version: &str,
        received: Received,
    ) -> Result<Uploaded, Error> {
        let semver = version::parse(version)?;
        self.is_whole(|damaged| damaged == id(name.as_str(), &semver.to_string()))?;
        let key = (name.to_string(), semver.to_string());
        // Nothing is compiled for an answer that is known already.
        if let Some(answer) = known(&self.versions(), name, &key, &received.sha256) {
            return answer;
        }
        let started = clock::now();
        let inspection = self.inspect(&received.bytes)?;
        let checked_in = started.elapsed();
        // Held over the writing: of two uploads of one version, the second sees the first.
        let mut versions = self.versions();
        if let Some(answer) = known(&versions, name, &key, &received.sha256) {
            return answer;
        }
        let record = Version {
            name: key.0.clone(),
            version: key.1.clone(),
            sha256: received.sha256.clone(),
            bytes: received.bytes.len(),
            uploaded_at: clock::now_millis(),
            by: actor.name.clone(),
            checked_in_ms: checked_in.as_millis() as u64,
            warnings: warnings(name, &inspection),
            inspection: json!(inspection),
            deleted_at: None,
        };
        check_room(&versions, actor, record.bytes as u64, self.bytes_max)?;
        // Order: the bytes are durable before the record that names them, and the line of the audit before both can be seen.
        received.name(&self.blob(&record.sha256))?;
        let detail = json!({"sha256": record.sha256, "bytes": record.bytes});
        audit.note(actor, "operator.put", &record.id(), detail).map_err(Error::io(&self.folder))?;
        self.keep(&record)?;
        versions.insert(key, record.clone());
        Ok(Uploaded { version: record, created: true })
    }

    /// Forgets a version. What it was stays known, so that the same name never means other bytes. Whoever calls has seen that
    /// nobody uses it, and sees to it that nobody begins to.
    pub fn delete(&self, (actor, audit): (&Actor, &Audit), name: &str, version: &str) -> Result<(), Error> {
        let version = self.exact(name, version)?;
        let mut versions = self.versions();
        let detail = json!({"sha256": version.sha256});
        audit.note(actor, "operator.delete", &version.id(), detail).map_err(Error::io(&self.folder))?;
        let record = Version { deleted_at: Some(clock::now_millis()), ..version };
        self.keep(&record)?;
        versions.insert((record.name.clone(), record.version.clone()), record);
        drop(versions);
        self.sweep()
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

    /// Removes bytes that no version names: of deleted ones, and of an upload that a kill cut off.
    fn sweep(&self) -> Result<(), Error> {
        if !self.damaged.is_empty() {
            // One of those may name them.
            return Ok(());
        }
        let versions = self.versions();
        let folder = self.folder.join("blobs");
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder))?.flatten() {
            let path = entry.path();
            let is_named =
                |v: &Version| v.deleted_at.is_none() && path.file_stem().is_some_and(|stem| stem == v.sha256.as_str());
            if path.extension().is_some_and(|extension| extension == "wasm") && !versions.values().any(is_named) {
                fs::remove_file(&path).map_err(Error::io(&path))?;
            }
        }
        Ok(())
    }

    fn record(&self, id: &str) -> PathBuf {
        self.folder.join("versions").join(format!("{id}.json"))
    }

    fn blob(&self, sha256: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{sha256}.wasm"))
    }

    fn keep(&self, record: &Version) -> Result<(), Error> {
        let path = self.record(&record.id());
        let json = serde_json::to_vec_pretty(record).expect("a record is strings, numbers and plain values");
        let staged = durable::stage(&path, &json).map_err(Error::io(&path))?;
        crash::point("upload.tmp_written");
        staged.name().map_err(Error::io(&path))?;
        crash::point("upload.renamed");
        Ok(())
    }
}

/// The answer for a version that was there before, if it is there now.
fn known(
    versions: &BTreeMap<(String, String), Version>,
    name: &Name,
    key: &(String, String),
    sha256: &str,
) -> Option<Result<Uploaded, Error>> {
    let existing = versions.get(key)?;
    if existing.sha256 != sha256 {
        let (version, existing) = (key.1.clone(), existing.sha256.clone());
        return Some(Err(Error::Immutable { name: name.clone(), version, existing }));
    }
    // One that was deleted comes back as it was.
    existing.deleted_at.is_none().then(|| Ok(Uploaded { version: existing.clone(), created: false }))
}

fn check_room(
    versions: &BTreeMap<(String, String), Version>,
    actor: &Actor,
    bytes: u64,
    max: u64,
) -> Result<(), Error> {
    let kept = || versions.values().filter(|v| v.deleted_at.is_none());
    let sum = |all: &mut dyn Iterator<Item = &Version>| all.map(|v| v.bytes as u64).sum::<u64>();
    let own = || kept().filter(|v| v.by == actor.name);
    actor.check("versions of operators", actor.quota.operators, own().count() as u64 + 1)?;
    actor.check("bytes of operators", actor.quota.bytes, sum(&mut own()) + bytes)?;
    let kept = sum(&mut kept());
    match kept + bytes > max {
        true => Err(Error::Full { kept, max }),
        false => Ok(()),
    }
}

/// What somebody should know who uploads this.
fn warnings(called: &Name, inspection: &Inspection) -> Vec<String> {
    let mut warnings = inspection.warnings.clone();
    // Whoever reads a message of this operator looks for it under the name that it has there.
    if called.as_str() != inspection.name {
        let own = &inspection.name;
        warnings.push(format!("the component calls itself `{own}`: pipelines and messages name it `{called}`"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

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
