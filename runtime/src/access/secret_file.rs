//! The admin token: made once, kept in a file that only its owner reads, compared in constant time.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use subtle::ConstantTimeEq;

use crate::{durable, hex};

/// 256 random bits as hex.
const DIGITS: usize = 64;

/// A secret: never in a log, never in an error.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads the token of a data folder, or makes it. Says whether it is new. The caller holds the folder's lock.
    pub fn open(path: &Path) -> io::Result<(Token, bool)> {
        let refuse = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        match fs::metadata(path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                return Err(refuse(
                    "others may read it: chmod 600, and delete it if they have (a new one is made at the next start)",
                ));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Token::make(path).map(|token| (token, true)),
            Err(e) => return Err(e),
        }
        let text = fs::read_to_string(path)?;
        let text = text.trim();
        if text.len() != DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refuse(
                "it holds no token of 64 hexadecimal digits: delete it, and a new one is made at the next start",
            ));
        }
        Ok((Token(text.to_owned()), false))
    }

    fn make(path: &Path) -> io::Result<Token> {
        let token = Token(hex::random::<{ DIGITS / 2 }>()?);
        durable::write(path, format!("{}\n", token.0).as_bytes())?;
        Ok(token)
    }

    /// Takes as long for a nearly right token as for a wrong one.
    pub fn is(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// For the one time that it is shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin-token");
        let (made, is_new) = Token::open(&path).unwrap();
        assert!(is_new);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (read, is_new) = Token::open(&path).unwrap();
        assert!(!is_new && read.is(made.reveal()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Token::open(&path).is_err());
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token("ab".repeat(32));
        assert!(token.is(&"ab".repeat(32)));
        for wrong in [String::new(), "ab".repeat(31), "ab".repeat(33), format!("{}ac", "ab".repeat(31))] {
            assert!(!token.is(&wrong), "{wrong}");
        }
    }
}
