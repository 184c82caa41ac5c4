//! "Did you mean": the known word nearest to an unknown one.

/// The known word that differs least, if it differs little enough to be a slip: a third of its letters, at most three.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let close = known.iter().map(|k| (strsim::osa_distance(word, k), *k)).min_by_key(|(distance, _)| *distance);
    close.filter(|(distance, k)| *distance <= (k.len().max(word.len()) / 3).clamp(1, 3)).map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["size", "interval", "guarantee"];
        assert_eq!(nearest("sise", &known), Some("size"));
        assert_eq!(nearest("intervall", &known), Some("interval"));
        assert_eq!(nearest("garantee", &known), Some("guarantee"));
        assert_eq!(nearest("topic", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
