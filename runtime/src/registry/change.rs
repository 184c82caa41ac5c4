//! What changes a registry: a version that comes, one that goes. Each is durable, with its line in the audit log, before anybody
//! sees it.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use weir_core::ids::Name;

use super::version::{self, id};
use super::{Error, Received, Registry, Version};
use crate::access::Actor;
use crate::access::audit::Audit;
use crate::guest::Inspection;
use crate::{clock, crash, durable};

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The record.
    pub version: Version,
    /// Whether it is new; the same bytes again change nothing.
    pub created: bool,
}

impl Registry {
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

    /// Removes bytes that no version names: of deleted ones, and of an upload that a kill cut off.
    pub(super) fn sweep(&self) -> Result<(), Error> {
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
