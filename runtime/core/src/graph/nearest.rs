//! "Did you mean": the known word nearest to an unknown one.

/// No name that can be right is longer, and comparing two words takes as long as their lengths multiplied.
const BYTES_MAX: usize = 64;

/// The known word that differs least, if it differs little enough to be a slip: a third of its letters, at most three.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let is_short = |word: &str| word.len() <= BYTES_MAX;
    let known = known.iter().filter(|k| is_short(word) && is_short(k));
    let close = known.map(|k| (strsim::osa_distance(word, k), *k)).min_by_key(|(distance, _)| *distance);
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
        let long = "a".repeat(65);
        assert_eq!(nearest(&long, &[&long[1..], &long]), None);
    }
}
