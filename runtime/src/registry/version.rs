//! What is kept about one version of an operator, one file each, and how all of them are read at a start.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;

const VERSION_BYTES_MAX: usize = 64;

/// See the module.
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
    /// The token that it came with.
    #[serde(default)]
    pub by: String,
    /// How long it took to compile it and to ask it what it is.
    #[serde(default)]
    pub checked_in_ms: u64,
    /// What somebody should know who uses it.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What `weir inspect` says of it.
    #[serde(default)]
    pub inspection: Value,
    /// Milliseconds since 1970: its bytes are gone, and its name means no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<i64>,
}

impl Version {
    /// What users call it.
    pub fn id(&self) -> String {
        id(&self.name, &self.version)
    }
}

/// What users call a version, and what its record is called.
pub(super) fn id(name: &str, version: &str) -> String {
    format!("{name}@{version}")
}

/// A version as it is written in full.
pub(super) fn parse(text: &str) -> Result<semver::Version, Error> {
    // The length: it becomes part of a file's name.
    let semver = semver::Version::parse(text).ok().filter(|_| text.len() <= VERSION_BYTES_MAX);
    semver.ok_or_else(|| Error::BadVersion(text.to_owned()))
}

/// What a start finds.
#[derive(Default)]
pub(super) struct Found {
    pub(super) versions: BTreeMap<(String, String), Version>,
    /// By the `name@version` that their files say, and why.
    pub(super) damaged: BTreeMap<String, String>,
}

/// Reads all records of a folder. One that cannot be read stays as it is.
pub(super) fn read_all(folder: &Path) -> Result<Found, Error> {
    let mut found = Found::default();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let read = fs::read(&path).map_err(|e| e.to_string());
        let read = read.and_then(|bytes| serde_json::from_slice::<Version>(&bytes).map_err(|e| e.to_string()));
        let read = read.and_then(|version| match version.id() {
            id if id == stem => Ok(version),
            id => Err(format!("it holds {id}, which is not its name")),
        });
        match read {
            Ok(version) => drop(found.versions.insert((version.name.clone(), version.version.clone()), version)),
            Err(why) => {
                tracing::error!("{}", Error::Damaged { path, why: why.clone() });
                found.damaged.insert(stem, why);
            }
        }
    }
    Ok(found)
}
