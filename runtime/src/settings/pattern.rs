//! The regular expression of `pattern = "…"`, compared with whole names of topics. Owns the choice of the library.

use regex_lite::Regex;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    whole: Regex,
    /// Whether internal topics are meant, since the pattern names them.
    is_internal: bool,
}

/// Compiles a pattern. The error says what is wrong with it, without the pattern.
pub fn compile(text: &str) -> Result<Pattern, regex_lite::Error> {
    // By itself first: what closes a group that it did not open would close ours.
    Regex::new(text)?;
    Ok(Pattern { whole: Regex::new(&format!("^(?:{text})$"))?, is_internal: text.starts_with("__") })
}

impl Pattern {
    /// Whether it matches the whole name. Topics that begin with `__` are Kafka's own, or weir's.
    pub fn matches(&self, topic: &str) -> bool {
        (self.is_internal || !topic.starts_with("__")) && self.whole.is_match(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names_and_never_internal_topics() {
        for (pattern, name, expected) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("orders-.*", "orders-eu", true),
            ("orders-.*", "old-orders-eu", false),
            ("a|b", "a", true),
            ("a|b", "ab", false),
            (r"eu\.\d+", "eu.17", true),
            (r"eu\.\d+", "eux17", false),
            (".*", "__consumer_offsets", false),
            ("__weir.*", "__weir.p.commits", true),
        ] {
            let compiled = compile(pattern).unwrap();
            assert_eq!(compiled.matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_also_where_ours_around_it_would_make_it_one() {
        for bad in ["(", "a)|(b", "[a", "*"] {
            assert!(compile(bad).is_err(), "{bad}");
        }
    }
}
