//! A revision of a pipeline: its text as it was applied, and the operators that its names meant then. Never changes; what
//! counts is decided elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use weir_core::ids::Name;

/// How the text of a pipeline is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// As a file on disk.
    Toml,
    /// The same model.
    Json,
}

/// How a revision came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Somebody applied a text.
    Apply,
    /// Somebody asked for another operator at a node.
    Upgrade,
    /// Somebody, or the server, went back to this one.
    Rollback {
        /// The revision whose text this is again.
        to: u64,
    },
}

/// The bytes that a name meant when the revision was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The version, in full.
    pub version: String,
    /// sha256 of its bytes.
    pub sha256: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// From 1, never twice.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// The token that made it.
    pub by: String,
    /// How it came about.
    pub cause: Cause,
    /// Of the text.
    pub language: Language,
    /// As it was applied; references to secrets stay references.
    pub text: String,
    /// By `name@version` as the text has it.
    pub operators: BTreeMap<String, Pin>,
    /// Bytes that its guests may take, all subtasks together.
    pub memory: u64,
    /// Where its file sinks write, by sink.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folders: BTreeMap<Name, PathBuf>,
}

impl Revision {
    /// Whether somebody who applies this would change nothing.
    pub(super) fn is_same(&self, other: &Revision) -> bool {
        (self.language, &self.text, &self.operators) == (other.language, &other.text, &other.operators)
    }

    /// Whether it runs these bytes of this version.
    pub(super) fn uses(&self, name: &str, version: &str) -> bool {
        self.operators.iter().any(|(written, pin)| {
            written.split_once('@').is_some_and(|(known, _)| known == name) && pin.version == version
        })
    }
}
