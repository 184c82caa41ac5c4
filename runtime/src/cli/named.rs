//! Names as they are typed, before they go into the path of a request: one with a slash in it would be another path. What is
//! none is wrong use; whether there is such a thing the server says.

use weir_core::ids::Name;

/// The name of a pipeline or an operator.
pub(super) fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

/// A version or its beginning, by its characters. The server says which there are.
pub(super) fn version(text: &str) -> Result<String, String> {
    let is_one = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+.".contains(&b));
    if is_one {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a version: versions are semver, such as 1.0.0"))
    }
}

/// `NAME@VERSION`.
pub(super) fn operator(text: &str) -> Result<(Name, String), String> {
    let (name, version) = text.split_once('@').ok_or("write NAME@VERSION")?;
    Ok((self::name(name)?, self::version(version)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_typed_makes_another_path_of_a_request() {
        assert!(name("ip-count").is_ok() && version("1").is_ok() && version("1.0.0-rc.1+b7").is_ok());
        for bad in ["", "a/b", "a:stop", "a?b", "..", "a%2fb", "A"] {
            assert!(name(bad).is_err() && version(bad).is_err(), "{bad:?}");
        }
        assert!(operator("a@1").is_ok());
        for bad in ["a", "@1", "a@", "a@1/2", "a@1@2", "a/b@1"] {
            assert!(operator(bad).is_err(), "{bad:?}");
        }
    }
}
