//! What a dry run answers: whether a pipeline would be new, which operators its names mean, what of its text would change, and
//! how it would run.

use serde::Serialize;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};
use utoipa::ToSchema;

use crate::pipeline::{Graph, Plan};

/// See the module.
#[derive(Serialize, ToSchema)]
pub(super) struct Planned {
    /// There is no pipeline of this name.
    creates: bool,
    /// Something of it would change.
    changes: bool,
    /// The revision that counts now.
    revision: Option<u64>,
    /// By `name@version` as the text has it: `{version, sha256}`.
    #[schema(value_type = Object)]
    operators: Value,
    /// Lines that would go (`-`) and come (`+`), and some around them; empty where the text is the same.
    diff: Vec<String>,
    /// As `weir graph --format json` prints it.
    #[schema(value_type = Object)]
    graph: Graph,
}

impl From<Plan> for Planned {
    fn from(plan: Plan) -> Planned {
        let before = plan.before.as_ref();
        let operators_change = before.is_none_or(|before| before.operators != plan.after.operators);
        let diff = diff(before.map_or("", |before| &before.text), &plan.after.text);
        Planned {
            creates: plan.creates,
            changes: operators_change || !diff.is_empty(),
            revision: before.map(|before| before.number),
            operators: json!(plan.after.operators),
            diff,
            graph: Graph::of(plan.name.as_str(), &plan.plan),
        }
    }
}

fn diff(before: &str, after: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(3) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            lines.push(format!("{sign}{}", change.value().trim_end_matches('\n')));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_what_goes_and_what_comes_and_nothing_where_nothing_does() {
        assert_eq!(diff("a\nb\n", "a\nc\n"), [" a", "-b", "+c"]);
        assert!(diff("a\n", "a\n").is_empty());
        assert_eq!(diff("", "a\n"), ["+a"]);
    }
}
