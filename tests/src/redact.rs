//! What differs from run to run in a message, replaced, so that the rest of it can stand in a snapshot word for word.

/// The text with each of `names` in the place of what it stands for, and without digests and random ids.
pub fn redact(text: &str, names: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (found, name) in names {
        text = text.replace(found, name);
    }
    // Shorter than any id, longer than any word.
    const LONG: usize = 24;
    runs(
        &text,
        |letter| letter.is_ascii_digit() || ('a'..='f').contains(&letter),
        |run| (run.len() >= LONG).then_some("<hex>"),
    )
}

/// The text with `#` for each number.
pub fn without_numbers(text: &str) -> String {
    runs(text, |letter| letter.is_ascii_digit(), |_| Some("#"))
}

fn runs(text: &str, belongs: impl Fn(char) -> bool, replace: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(&belongs) {
        let len = rest[start..].find(|letter| !belongs(letter)).unwrap_or(rest.len() - start);
        let run = &rest[start..start + len];
        out.push_str(&rest[..start]);
        out.push_str(replace(run).unwrap_or(run));
        rest = &rest[start + len..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_paths_go_and_the_rest_stays() {
        let digest = "0123456789abcdef".repeat(4);
        let text = format!("/tmp/x/files/12-{digest} is damaged: 5 bytes, face");
        assert_eq!(redact(&text, &[("/tmp/x", "DIR")]), "DIR/files/12-<hex> is damaged: 5 bytes, face");
        assert_eq!(without_numbers("epoch 12 of 3-4"), "epoch # of #-#");
    }
}
