//! The numbers and names that must never be swapped: each has a type of its own. Owns their text form; decides nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a checkpoint. Grows by one per attempt at a checkpoint, across restarts and rewinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The largest that is read: no pipeline comes near it, and there is room for those that follow.
    pub const MAX: Epoch = Epoch(1 << 62);

    /// The epoch after this one.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Epoch, D::Error> {
        let epoch = Epoch(u64::deserialize(deserializer)?);
        let found = || serde::de::Error::custom(format!("no pipeline has come to epoch {epoch}"));
        if epoch <= Epoch::MAX { Ok(epoch) } else { Err(found()) }
    }
}

/// The fencing token of an attempt: the offset of its CLAIM in the commit topic, or the counter in `CURRENT`. Unique, growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub i64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a pipeline, node, operator or token: `[a-z][a-z0-9_-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// A text that is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name: a name is 1 to 63 characters of a-z, 0-9, _ and -, and starts with a letter")]
pub struct InvalidName(pub String);

impl Name {
    /// Checks the rule that holds for every name.
    pub fn new(text: impl Into<String>) -> Result<Name, InvalidName> {
        let text = text.into();
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let goes_on_well = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if starts_well && goes_on_well && text.len() <= 63 { Ok(Name(text)) } else { Err(InvalidName(text)) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        Name::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Epoch, Name};

    #[test]
    fn an_epoch_that_leaves_no_room_for_the_next_is_not_read() {
        let read = |text: &str| serde_json::from_str::<Epoch>(text).map_err(|e| e.to_string());
        assert_eq!(read("4611686018427387904"), Ok(Epoch::MAX));
        assert!(read("18446744073709551615").is_err_and(|e| e.starts_with("no pipeline has come to epoch 184467")));
    }

    #[test]
    fn a_name_is_what_the_one_rule_says() {
        for good in ["a", "ip-count", "a_1", &"a".repeat(63)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "A", "a.b", "a/b", "..", "ä", &"a".repeat(64)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }
}
