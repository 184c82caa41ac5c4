//! What goes wrong, grouped: one entry for what is the same but for its numbers and values, with a count and a sample. A flood of
//! bad records is one line to read. Owns what "the same" means; time is passed in.

use std::collections::HashMap;

use weir_core::ids::Name;

/// Groups that are kept; the one that was not seen for longest makes room.
const GROUPS_MAX: usize = 100;
/// Bytes of a sample's key, and of its value.
const SAMPLE_BYTES_MAX: usize = 1024;
/// Characters of a message that are looked at.
const MESSAGE_MAX: usize = 1024;

/// What kind of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A record that weir itself cannot use: no time, no key, too large.
    BadRecord,
    /// A record that an operator rejected.
    Reject,
    /// An operator said that it failed.
    Failure,
    /// An operator trapped, or went over a limit.
    Trap,
    /// Something else ended an attempt.
    Attempt,
}

impl Kind {
    /// As users read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::BadRecord => "bad-record",
            Kind::Reject => "reject",
            Kind::Failure => "failure",
            Kind::Trap => "trap",
            Kind::Attempt => "attempt",
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The attempt ended.
    Failed,
    /// The record was left out.
    Skipped,
    /// The record went out on the port `rejects`.
    Rejected,
}

impl Fate {
    /// As users read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Failed => "failed",
            Fate::Skipped => "skipped",
            Fate::Rejected => "rejected",
        }
    }
}

/// One problem, as it comes.
#[derive(Debug)]
pub struct Report<'a> {
    /// Where, if that is known.
    pub node: Option<&'a Name>,
    /// What it is.
    pub kind: Kind,
    /// A word for it: the operator's own, or ours.
    pub code: &'a str,
    /// What went wrong.
    pub message: &'a str,
    /// What became of it.
    pub fate: Fate,
    /// Functions of the guest, innermost first.
    pub backtrace: &'a [String],
}

/// The first record of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Where it came from: `topic/partition@offset`, or what is known.
    pub origin: String,
    /// Its event time, milliseconds since 1970.
    pub time: i64,
    /// Its key and its value, cut; nothing where the pipeline shows none.
    pub record: Option<(Option<Part>, Option<Part>)>,
}

/// The beginning of a key or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// All of them.
    pub of: usize,
}

impl Part {
    /// Cuts.
    pub fn of(bytes: &[u8]) -> Part {
        Part { bytes: bytes[..bytes.len().min(SAMPLE_BYTES_MAX)].to_vec(), of: bytes.len() }
    }
}

/// Problems that are the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Where, if that is known.
    pub node: Option<Name>,
    /// What they are.
    pub kind: Kind,
    /// See [`Report::code`].
    pub code: String,
    /// What they say, without what varies.
    pub message: String,
    /// What became of them.
    pub fate: Fate,
    /// How many there were.
    pub count: u64,
    /// When the first one came, milliseconds since 1970.
    pub first: i64,
    /// When the newest one came.
    pub last: i64,
    /// What the first one said.
    pub said: String,
    /// Of the first one.
    pub backtrace: Vec<String>,
    /// Of the first one.
    pub sample: Option<Sample>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Same {
    node: Option<Name>,
    kind: Kind,
    code: String,
    message: String,
    fate: Fate,
}

/// All groups of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Problems {
    groups: HashMap<Same, (u64, Group)>,
    /// Counts reports, to tell which group was seen last.
    reports: u64,
}

impl Problems {
    /// Counts one. Says whether it is the first of its group; only then a sample is taken.
    pub(super) fn add(&mut self, report: &Report<'_>, at: i64, sample: impl FnOnce() -> Option<Sample>) -> bool {
        self.reports += 1;
        let same = Same {
            node: report.node.cloned(),
            kind: report.kind,
            code: report.code.to_owned(),
            message: without_variables(report.message),
            fate: report.fate,
        };
        if let Some((seen, group)) = self.groups.get_mut(&same) {
            (*seen, group.last, group.count) = (self.reports, at, group.count + 1);
            return false;
        }
        if self.groups.len() >= GROUPS_MAX
            && let Some(oldest) = self.groups.iter().min_by_key(|(_, (seen, _))| *seen).map(|(same, _)| same.clone())
        {
            self.groups.remove(&oldest);
        }
        let group = Group {
            node: same.node.clone(),
            kind: same.kind,
            code: same.code.clone(),
            message: same.message.clone(),
            fate: same.fate,
            count: 1,
            first: at,
            last: at,
            said: report.message.chars().take(MESSAGE_MAX).collect(),
            backtrace: report.backtrace.to_vec(),
            sample: sample(),
        };
        self.groups.insert(same, (self.reports, group));
        true
    }

    /// The one that was seen last first.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<_> = self.groups.values().collect();
        groups.sort_by_key(|(seen, _)| std::cmp::Reverse(*seen));
        groups.into_iter().map(|(_, group)| group.clone()).collect()
    }
}

/// A message without what tells two of the same apart: numbers are `#`, what stands between quotes is `…`.
fn without_variables(message: &str) -> String {
    let mut pattern = String::with_capacity(message.len().min(MESSAGE_MAX));
    let mut chars = message.chars().take(MESSAGE_MAX).peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        match c {
            // An apostrophe inside of a word opens nothing.
            '"' | '\'' if c == '"' || !before.is_alphanumeric() => {
                pattern.push(c);
                let mut is_closed = false;
                while let Some(inner) = chars.next() {
                    if inner == '\\' {
                        chars.next();
                    } else if inner == c {
                        is_closed = true;
                        break;
                    }
                }
                pattern.push('…');
                if is_closed {
                    pattern.push(c);
                }
            }
            c if c.is_ascii_digit() => {
                pattern.push('#');
                while chars.next_if(|c| c.is_ascii_digit()).is_some() {}
            }
            c => pattern.push(c),
        }
        before = c;
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report<'a>(code: &'a str, message: &'a str) -> Report<'a> {
        Report { node: None, kind: Kind::Failure, code, message, fate: Fate::Skipped, backtrace: &[] }
    }

    #[test]
    fn what_differs_in_numbers_and_values_alone_is_one_problem() {
        let mut problems = Problems::default();
        let mut samples = 0;
        for n in 0..1000 {
            let message = format!("cannot stand \"k{n}\" of {n} at line {n} column 5, it's 'v{n}'");
            let is_new = problems.add(&report("poison", &message), n, || {
                samples += 1;
                None
            });
            assert_eq!(is_new, n == 0);
        }
        assert!(problems.add(&report("other", "cannot stand \"k1\""), 5000, || None));
        let groups = problems.groups();
        assert_eq!((groups.len(), samples), (2, 1));
        assert_eq!(groups[0].code, "other", "newest first");
        assert_eq!(groups[1].message, "cannot stand \"…\" of # at line # column #, it's '…'");
        assert_eq!((groups[1].count, groups[1].first, groups[1].last), (1000, 0, 999));
        assert!(groups[1].said.starts_with("cannot stand \"k0\" of 0"));
    }

    #[test]
    fn the_group_that_was_not_seen_for_longest_makes_room() {
        let mut problems = Problems::default();
        let codes: Vec<String> = (0..=GROUPS_MAX).map(|n| format!("c{n}")).collect();
        for code in &codes[..GROUPS_MAX] {
            problems.add(&report(code, "x"), 0, || None);
        }
        problems.add(&report("c0", "x"), 1, || None);
        problems.add(&report(&codes[GROUPS_MAX], "x"), 2, || None);
        let groups = problems.groups();
        assert_eq!(groups.len(), GROUPS_MAX);
        assert!(groups.iter().all(|group| group.code != "c1"));
        assert!(groups.iter().any(|group| group.code == "c0" && group.count == 2));
    }

    #[test]
    fn messages_of_any_shape_end() {
        for odd in ["\"open", "'", "\\", "\"a\\", "12\"", "\"\\\"\" 1"] {
            without_variables(odd);
        }
        assert!(without_variables(&"9a".repeat(1 << 20)).len() < 2 * MESSAGE_MAX);
        assert_eq!(Part::of(&[1; 5000]).bytes.len(), SAMPLE_BYTES_MAX);
    }
}
