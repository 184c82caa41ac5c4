//! JSON pointers (RFC 6901), parsed once.

use std::fmt;

/// A JSON pointer: the way to a field of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer {
    text: String,
    tokens: Vec<String>,
}

/// A text that is not a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It is not empty and does not start with `/`.
    #[error("{0:?} is not a JSON pointer: it does not start with /")]
    NoSlash(String),
    /// `~` is followed by something else than 0 or 1.
    #[error("{0:?} is not a JSON pointer: ~ is written ~0, and / within a name ~1")]
    Tilde(String),
    /// More names than [`DEPTH_MAX`](super::DEPTH_MAX).
    #[error("the JSON pointer goes deeper than {} levels", super::DEPTH_MAX)]
    TooDeep,
}

impl Pointer {
    /// Reads a pointer.
    pub fn parse(text: &str) -> Result<Pointer, PointerError> {
        let mut tokens = Vec::new();
        if !text.is_empty() {
            let rest = text.strip_prefix('/').ok_or_else(|| PointerError::NoSlash(text.to_string()))?;
            for token in rest.split('/') {
                tokens.push(unescape(token).ok_or_else(|| PointerError::Tilde(text.to_string()))?);
            }
        }
        if tokens.len() >= super::DEPTH_MAX {
            return Err(PointerError::TooDeep);
        }
        Ok(Pointer { text: text.to_string(), tokens })
    }

    /// The names on the way, unescaped.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The pointer as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            _ => c,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_split_and_unescaped() {
        let tokens = |text| Pointer::parse(text).map(|p| p.tokens().to_vec());
        assert_eq!(tokens(""), Ok(vec![]));
        assert_eq!(tokens("/"), Ok(vec![String::new()]));
        assert_eq!(tokens("/a~1b/~0/0"), Ok(vec!["a/b".into(), "~".into(), "0".into()]));
        assert_eq!(tokens("/~01"), Ok(vec!["~1".into()]));
        assert_eq!(tokens("ip"), Err(PointerError::NoSlash("ip".into())));
        for bad in ["/~", "/~2", "/a~"] {
            assert_eq!(tokens(bad), Err(PointerError::Tilde(bad.into())), "{bad}");
        }
        assert_eq!(tokens(&"/a".repeat(128)), Err(PointerError::TooDeep));
    }
}
