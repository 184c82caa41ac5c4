//! Who may do what on a server, and the record of who did it: tokens with scopes and quotas, and the audit log. Knows no HTTP,
//! no operator and no pipeline.

pub mod audit;
pub mod secret_file;
pub mod tokens;

use serde::{Deserialize, Serialize};

/// What a token may do. Everybody who may change something may read too, and `admin` may do everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Look at operators, pipelines, checkpoints, logs.
    #[serde(rename = "read")]
    Read,
    /// Upload operators and delete those that nobody uses.
    #[serde(rename = "operators:write")]
    Operators,
    /// Apply pipelines, and whatever can be done to one.
    #[serde(rename = "pipelines:write")]
    Pipelines,
    /// Tokens, the audit log, and everything else.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Operators => "operators:write",
            Scope::Pipelines => "pipelines:write",
            Scope::Admin => "admin",
        }
    }
}

/// How much one token may bring onto a server. What is not said is not limited, but by the server itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Versions of operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operators: Option<u64>,
    /// Bytes of their components.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Pipelines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipelines: Option<u64>,
    /// Bytes of memory that the guests of its pipelines may take, all subtasks together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// Something would go over a token's quota.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token `{who}` may have {allowed} {what}, and this would make {wanted}: delete some, or ask for a larger quota"
)]
pub struct OverQuota {
    /// The token.
    pub who: String,
    /// Of what.
    pub what: &'static str,
    /// How many.
    pub allowed: u64,
    /// How many there would be.
    pub wanted: u64,
}

/// Who asks for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name of the token; `admin` for the one of `admin-token`, `weir` for the server itself.
    pub name: String,
    /// The address that it came from.
    pub from: Option<String>,
    /// The request that it came with.
    pub request: Option<String>,
    /// What it may bring.
    pub quota: Quota,
}

impl Actor {
    /// The server itself: a roll-back, a repair.
    pub fn server() -> Actor {
        Actor { name: "weir".to_owned(), from: None, request: None, quota: Quota::default() }
    }

    /// Refuses what would be more than allowed. `None` is no limit.
    pub fn check(&self, what: &'static str, allowed: Option<u64>, wanted: u64) -> Result<(), OverQuota> {
        match allowed {
            Some(allowed) if wanted > allowed => Err(OverQuota { who: self.name.clone(), what, allowed, wanted }),
            _ => Ok(()),
        }
    }
}
