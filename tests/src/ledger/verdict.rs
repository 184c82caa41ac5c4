//! The comparison of what came out with what must have come out, and its result in words.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde_json::Value;

use super::{Counted, Output, WindowRule};

/// What is wrong with an output. Each entry names the row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Rows that must be there and are not.
    pub lost: Vec<String>,
    /// Rows that are there more than once.
    pub doubled: Vec<String>,
    /// Keys whose rows are there, but in another order.
    pub reordered: Vec<String>,
    /// Rows that nothing explains: no such window, a count that was never reached, not the row's form.
    pub wrong: Vec<String>,
    /// How many rows were judged.
    pub rows: usize,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.reordered.is_empty() && self.wrong.is_empty()
    }

    /// Fails the test when anything is lost, doubled, reordered or wrong.
    #[track_caller]
    pub fn expect_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lost, doubled) = (self.lost.len(), self.doubled.len());
        let (reordered, wrong) = (self.reordered.len(), self.wrong.len());
        write!(f, "{} rows out, {lost} lost, {doubled} doubled, {reordered} reordered, {wrong} wrong", self.rows)?;
        let all =
            [("lost", &self.lost), ("doubled", &self.doubled), ("reordered", &self.reordered), ("wrong", &self.wrong)];
        for (name, entries) in all {
            const SHOWN: usize = 5;
            for entry in entries.iter().take(SHOWN) {
                write!(f, "\n  {name}: {entry}")?;
            }
            if entries.len() > SHOWN {
                write!(f, "\n  {name}: and {} more", entries.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

/// Gathers rows by IP, then compares.
pub(super) struct Judge {
    rule: WindowRule,
    found: HashMap<String, Vec<Counted>>,
    verdict: Verdict,
}

impl Judge {
    pub(super) fn new(rule: WindowRule) -> Self {
        Self { rule, found: HashMap::new(), verdict: Verdict::default() }
    }

    pub(super) fn enter(&mut self, row: &Output) {
        self.verdict.rows += 1;
        match self.read(row) {
            Ok((ip, counted)) => self.found.entry(ip).or_default().push(counted),
            Err(why) => self.verdict.wrong.push(format!("{why}: key {:?}, value {}", row.key, row.value)),
        }
    }

    fn read(&self, row: &Output) -> Result<(String, Counted), String> {
        let value: Value = serde_json::from_str(&row.value).map_err(|error| format!("not JSON ({error})"))?;
        let number = |name: &str| value[name].as_i64().ok_or_else(|| format!("no number {name:?}"));
        let ip = value["ip"].as_str().ok_or("no string \"ip\"")?;
        let (start, end, count) = (number("window_start")?, number("window_end")?, number("count")?);
        if end - start != self.rule.window || start.rem_euclid(self.rule.window) != 0 {
            return Err("not a window".to_owned());
        }
        if row.key.as_deref().is_some_and(|key| key != ip) {
            return Err("the key is not the IP".to_owned());
        }
        if row.time.is_some_and(|time| time != end - 1) {
            return Err(format!("the event time {:?} is not the window's last millisecond", row.time));
        }
        let count = u64::try_from(count).map_err(|_| "a negative count".to_owned())?;
        Ok((ip.to_owned(), (start, count)))
    }

    pub(super) fn against_rows(mut self, expected: &HashMap<String, Vec<Counted>>) -> Verdict {
        for (ip, expected) in expected {
            let found = self.found.remove(ip).unwrap_or_default();
            let known: HashSet<Counted> = expected.iter().copied().collect();
            let once = self.first_of_each(ip, &found, |row| known.contains(row));
            let present: HashSet<Counted> = once.iter().copied().collect();
            let lost = expected.iter().filter(|row| !present.contains(row));
            self.verdict.lost.extend(lost.map(|row| describe(ip, row)));
            let in_order: Vec<Counted> = expected.iter().filter(|row| present.contains(row)).copied().collect();
            self.compare_order(ip, &in_order, &once);
        }
        self.finish()
    }

    pub(super) fn against_totals(mut self, expected: &HashMap<String, BTreeMap<i64, u64>>) -> Verdict {
        for (ip, totals) in expected {
            let found = self.found.remove(ip).unwrap_or_default();
            let reachable =
                |(start, count): &Counted| totals.get(start).is_some_and(|total| (1..=*total).contains(count));
            let once = self.first_of_each(ip, &found, reachable);
            for (&start, &total) in totals {
                let counts: Vec<u64> = once.iter().filter(|row| row.0 == start).map(|row| row.1).collect();
                // Where it first fired is open, and so where the steps begin.
                let first = counts.iter().copied().min().unwrap_or(total);
                let lost = (first..=total).filter(|count| !counts.contains(count));
                self.verdict.lost.extend(lost.map(|count| describe(ip, &(start, count))));
                let counts: Vec<Counted> = counts.into_iter().map(|count| (start, count)).collect();
                let mut sorted = counts.clone();
                sorted.sort_unstable();
                self.compare_order(ip, &sorted, &counts);
            }
        }
        self.finish()
    }

    /// The rows of an IP that may be there, each once; the others are entered as doubled or wrong.
    fn first_of_each(&mut self, ip: &str, found: &[Counted], may_be: impl Fn(&Counted) -> bool) -> Vec<Counted> {
        let mut seen = HashSet::new();
        let mut once = Vec::new();
        for row in found {
            if !may_be(row) {
                self.verdict.wrong.push(format!("never reached: {}", describe(ip, row)));
            } else if seen.insert(*row) {
                once.push(*row);
            } else {
                self.verdict.doubled.push(describe(ip, row));
            }
        }
        once
    }

    fn compare_order(&mut self, ip: &str, expected: &[Counted], found: &[Counted]) {
        if let Some((expected, found)) = expected.iter().zip(found).find(|(expected, found)| expected != found) {
            let (expected, found) = (describe(ip, expected), describe(ip, found));
            self.verdict.reordered.push(format!("{found} where {expected} belongs"));
        }
    }

    fn finish(mut self) -> Verdict {
        // What no expectation took: IPs that never went in.
        for (ip, found) in std::mem::take(&mut self.found) {
            self.first_of_each(&ip, &found, |_| false);
        }
        // Hash maps have no order: sorted, so that the same fault reads the same twice.
        let Verdict { lost, doubled, reordered, wrong, .. } = &mut self.verdict;
        for entries in [lost, doubled, reordered, wrong] {
            entries.sort();
        }
        self.verdict
    }
}

fn describe(ip: &str, (start, count): &Counted) -> String {
    format!("{ip} window {start} count {count}")
}
