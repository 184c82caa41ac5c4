//! Compares committed output with the truth: what is missing, what is too much, what came in another order, per key.

use std::collections::BTreeMap;
use std::path::Path;

/// Rows of one sink, in the order in which they were published.
pub(super) fn read(folder: &Path) -> Result<Vec<String>, String> {
    let fail = |path: &Path, e: std::io::Error| format!("cannot read {}: {e}", path.display());
    let mut parts = Vec::new();
    if folder.exists() {
        for entry in std::fs::read_dir(folder).map_err(|e| fail(folder, e))? {
            let path = entry.map_err(|e| fail(folder, e))?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                parts.push(path);
            }
        }
    }
    parts.sort();
    let mut rows = Vec::new();
    for part in parts {
        let text = std::fs::read_to_string(&part).map_err(|e| fail(&part, e))?;
        rows.extend(text.lines().map(str::to_owned));
    }
    Ok(rows)
}

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// Keys whose rows are all there, once each, in another order.
    pub(super) reordered: u64,
    /// The first few, for people.
    pub(super) examples: Vec<String>,
}

/// Compares rows per key. `key` is a JSON pointer into a row; a row without it is a key of its own.
pub(super) fn compare(truth: &[String], output: &[String], key: Option<&str>) -> Difference {
    let (truth, output) = (per_key(truth, key), per_key(output, key));
    let mut difference = Difference::default();
    let none = Vec::new();
    let keys: std::collections::BTreeSet<&String> = truth.keys().chain(output.keys()).collect();
    for key in keys {
        let (expected, found) = (truth.get(key).unwrap_or(&none), output.get(key).unwrap_or(&none));
        if expected == found {
            continue;
        }
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        expected.iter().for_each(|row| *counts.entry(row).or_default() += 1);
        found.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
        counts.retain(|_, count| *count != 0);
        if counts.is_empty() {
            difference.reordered += 1;
            difference.example(format!("other order for key {key}"));
        }
        for (row, count) in counts {
            match count > 0 {
                true => difference.lost += count as u64,
                false => difference.doubled += count.unsigned_abs(),
            }
            difference.example(format!("{} {}: {row}", count.abs(), if count > 0 { "lost" } else { "too many" }));
        }
    }
    difference
}

impl Difference {
    fn example(&mut self, text: String) {
        if self.examples.len() < 10 {
            self.examples.push(text);
        }
    }
}

fn per_key<'a>(rows: &'a [String], key: Option<&str>) -> BTreeMap<String, Vec<&'a str>> {
    let mut keys: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in rows {
        let value =
            key.and_then(|pointer| serde_json::from_str::<serde_json::Value>(row).ok()?.pointer(pointer).cloned());
        let key = value.map_or_else(|| row.clone(), |value| value.to_string());
        keys.entry(key).or_default().push(row);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&str]) -> Vec<String> {
        rows.iter().map(|row| (*row).to_owned()).collect()
    }

    #[test]
    fn lost_doubled_and_reordered_rows_are_told_apart() {
        let truth = rows(&[r#"{"k":"a","n":1}"#, r#"{"k":"b","n":1}"#, r#"{"k":"a","n":2}"#]);
        let check = |output: &[&str]| {
            let d = compare(&truth, &rows(output), Some("/k"));
            (d.lost, d.doubled, d.reordered)
        };
        assert_eq!(
            check(&[r#"{"k":"b","n":1}"#, r#"{"k":"a","n":1}"#, r#"{"k":"a","n":2}"#]),
            (0, 0, 0),
            "keys may interleave"
        );
        assert_eq!(check(&[r#"{"k":"a","n":2}"#, r#"{"k":"a","n":1}"#, r#"{"k":"b","n":1}"#]), (0, 0, 1));
        assert_eq!(check(&[r#"{"k":"a","n":1}"#, r#"{"k":"a","n":2}"#]), (1, 0, 0));
        assert_eq!(
            check(&[r#"{"k":"a","n":1}"#, r#"{"k":"a","n":1}"#, r#"{"k":"a","n":2}"#, r#"{"k":"b","n":1}"#]),
            (0, 1, 0)
        );
        assert_eq!(
            check(&[r#"{"k":"a","n":1}"#, r#"{"k":"a","n":3}"#, r#"{"k":"b","n":1}"#]),
            (1, 1, 0),
            "a wrong row"
        );
    }
}
