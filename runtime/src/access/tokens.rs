//! Tokens that were made over the API: what is kept of one is the sha256 of its secret, its scopes, its quota and its end.
//! One file each in `DIR/tokens`. The secret is shown once, when it is made.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;
use subtle::ConstantTimeEq;
use weir_core::ids::Name;

use super::audit::Audit;
use super::{Actor, Quota, Scope};
use crate::{clock, durable, hex};

/// So that a token is known for one where it is found.
const PREFIX: &str = "weir_";
/// Tokens that a server keeps.
const TOKENS_MAX: usize = 1000;

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is called.
    pub name: Name,
    /// sha256 of its secret, lower-case hex.
    pub sha256: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// What it may bring.
    #[serde(default)]
    pub quota: Quota,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// The same; it is no token from then on.
    pub expires_at: Option<i64>,
}

/// Why a token was not made or not deleted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is taken.
    #[error("there is a token `{0}` already: delete it first, or take another name")]
    Taken(Name),
    /// There is none.
    #[error("there is no token `{0}`")]
    Unknown(String),
    /// There are enough.
    #[error("a server keeps at most {TOKENS_MAX} tokens: delete those that nobody needs")]
    TooMany,
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How a token that was presented is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum No {
    /// It never was.
    Wrong,
    /// It was until then, in milliseconds since 1970.
    Expired(i64),
}

/// See the module.
#[derive(Debug)]
pub struct Tokens {
    folder: PathBuf,
    tokens: Mutex<BTreeMap<Name, Token>>,
}

impl Tokens {
    /// Opens or makes the folder. A file that cannot be read is a token that nobody has.
    pub fn open(folder: &Path) -> Result<Tokens, Error> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        fs::create_dir_all(folder).and_then(|()| durable::remove_leftovers(folder)).map_err(io(folder))?;
        let mut tokens = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(io(folder))? {
            let path = entry.map_err(io(folder))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let read = fs::read(&path).map_err(|e| e.to_string());
            match read.and_then(|bytes| serde_json::from_slice::<Token>(&bytes).map_err(|e| e.to_string())) {
                Ok(token) => drop(tokens.insert(token.name.clone(), token)),
                Err(why) => {
                    tracing::error!("{} is damaged: {why}; its token is none until it is whole again", path.display())
                }
            }
        }
        Ok(Tokens { folder: folder.to_owned(), tokens: Mutex::new(tokens) })
    }

    fn tokens(&self) -> MutexGuard<'_, BTreeMap<Name, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one. The secret comes back, and is kept nowhere.
    pub fn make(
        &self,
        (actor, audit): (&Actor, &Audit),
        name: Name,
        scopes: Vec<Scope>,
        quota: Quota,
        expires_at: Option<i64>,
    ) -> Result<(Token, String), Error> {
        let path = self.path(&name);
        let io = |source| Error::Io { path: path.clone(), source };
        let mut tokens = self.tokens();
        if tokens.contains_key(&name) || path.exists() {
            return Err(Error::Taken(name));
        }
        if tokens.len() >= TOKENS_MAX {
            return Err(Error::TooMany);
        }
        let secret = format!("{PREFIX}{}", hex::random::<32>().map_err(io)?);
        let sha256 = hex::sha256(secret.as_bytes());
        let token = Token { name: name.clone(), sha256, scopes, quota, created_at: clock::now_millis(), expires_at };
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        audit
            .note(actor, "token.make", name.as_str(), json!({"scopes": scopes, "sha256": token.sha256}))
            .map_err(io)?;
        let json = serde_json::to_vec_pretty(&token).map_err(|e| io(io::Error::other(e)))?;
        durable::write(&path, &json).map_err(io)?;
        tokens.insert(name, token.clone());
        Ok((token, secret))
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Token> {
        self.tokens().values().cloned().collect()
    }

    /// Ends one at once.
    pub fn delete(&self, (actor, audit): (&Actor, &Audit), name: &str) -> Result<(), Error> {
        let mut tokens = self.tokens();
        let name = tokens
            .keys()
            .find(|known| known.as_str() == name)
            .cloned()
            .ok_or_else(|| Error::Unknown(name.to_owned()))?;
        let path = self.path(&name);
        let io = |source| Error::Io { path: path.clone(), source };
        audit.note(actor, "token.delete", name.as_str(), json!({})).map_err(io)?;
        fs::remove_file(&path).and_then(|()| durable::sync_folder(&self.folder)).map_err(io)?;
        tokens.remove(&name);
        Ok(())
    }

    /// Whose secret this is. Digests are compared, each in constant time: how long it takes says nothing about a secret.
    pub fn find(&self, presented: &str, now: i64) -> Result<Token, No> {
        let digest = hex::sha256(presented.as_bytes());
        let tokens = self.tokens();
        let is_it = |token: &&Token| bool::from(token.sha256.as_bytes().ct_eq(digest.as_bytes()));
        let found = tokens.values().find(is_it).ok_or(No::Wrong)?;
        match found.expires_at {
            Some(end) if end <= now => Err(No::Expired(end)),
            _ => Ok(found.clone()),
        }
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_until_its_token_ends_or_is_deleted_and_stands_in_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, audit) = (dir.path().join("tokens"), Audit::open(&dir.path().join("audit.jsonl")).unwrap());
        let by = (&Actor::server(), &audit);
        let tokens = Tokens::open(&folder).unwrap();
        let name = |text: &str| Name::new(text).unwrap();
        let make = |called, end| tokens.make(by, name(called), vec![Scope::Read], Quota::default(), end);
        let (_, secret) = make("team", None).unwrap();
        let (_, ends) = make("ends", Some(1000)).unwrap();
        assert!(matches!(make("team", None), Err(Error::Taken(_))));
        let tokens = Tokens::open(&folder).unwrap();
        assert_eq!(tokens.find(&secret, 5000).unwrap().name, name("team"));
        assert_eq!(tokens.find(&ends, 999).unwrap().name, name("ends"));
        assert_eq!(tokens.find(&ends, 1000), Err(No::Expired(1000)));
        assert_eq!(tokens.find(&secret[1..], 0), Err(No::Wrong));
        for file in [folder.join("team.json"), dir.path().join("audit.jsonl")] {
            assert!(!fs::read_to_string(&file).unwrap().contains(&secret[PREFIX.len()..]), "{}", file.display());
        }
        tokens.delete(by, "team").unwrap();
        assert_eq!(tokens.find(&secret, 0), Err(No::Wrong));
        assert!(matches!(tokens.delete(by, "team"), Err(Error::Unknown(_))));
    }
}
