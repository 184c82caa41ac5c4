//! `previous_name`: the state of a node that has another name now. A snapshot is read as if the node had always had its new
//! name; the next one that is written says so. Changes nothing on the disk.

use weir_core::checkpoint::manifest::Manifest;
use weir_core::graph::spec::Pipeline;

/// Gives the nodes of a snapshot their new names. One that the snapshot knows by its new name was renamed before: what it was
/// called then is history.
pub(super) fn apply(manifest: &mut Manifest, pipeline: &Pipeline) -> Result<(), String> {
    for node in &pipeline.nodes {
        let Some(previous) = &node.previous_name else { continue };
        if manifest.nodes.contains_key(&node.name) {
            continue;
        }
        let Some(kept) = manifest.nodes.remove(previous) else {
            let known: Vec<String> = manifest.nodes.keys().map(|name| format!("`{name}`")).collect();
            let known = if known.is_empty() { "no node at all".to_owned() } else { known.join(", ") };
            return Err(format!(
                "node `{}` has previous_name = \"{previous}\", and checkpoint {}-{} has no node of that name: it has {known}; \
                 correct it, or take it out for a node that begins empty",
                node.name, manifest.epoch, manifest.token
            ));
        };
        manifest.nodes.insert(node.name.clone(), kept);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use weir_core::checkpoint::manifest::NodeSnapshot;
    use weir_core::ids::Name;

    use super::*;
    use crate::settings::{self, Environment, Format};

    fn pipeline(nodes: &str) -> Pipeline {
        let text = format!(
            "version = 1\nname = \"a\"\n[sources.s]\ntype = \"generator\"\ntemplate = 'x'\n{nodes}\
             [sinks.out]\ntype = \"discard\"\ninputs = [\"s\"]\n"
        );
        let environment = Environment { variable: &|_| None, file: None, base: None, secrets: None };
        settings::parse(&text, "a.toml", Format::Toml, &environment).unwrap_or_else(|e| panic!("{e}")).spec
    }

    fn node(name: &str, previous: &str) -> String {
        format!("[nodes.{name}]\noperator = \"o@1\"\ninputs = [\"s\"]\nprevious_name = \"{previous}\"\n")
    }

    /// The nodes of a snapshot of `names`, each with its position in the list as watermark, after renaming.
    fn renamed(names: &[&str], nodes: &str) -> Result<Vec<(String, i64)>, String> {
        let snapshot = |at: usize| NodeSnapshot { watermark: at as i64, ..NodeSnapshot::default() };
        let named = |(at, name): (usize, &&str)| (Name::new(*name).unwrap(), snapshot(at));
        let mut manifest: Manifest = serde_json::from_value(serde_json::json!({
            "version": 1, "pipeline": "a", "lineage": "", "epoch": 3, "token": 7, "kind": "checkpoint", "created_at": 0,
            "key_groups": 128, "sources": {}, "nodes": {}, "state": {"base": {}, "deltas": []},
        }))
        .unwrap();
        manifest.nodes = names.iter().enumerate().map(named).collect();
        apply(&mut manifest, &pipeline(nodes))?;
        Ok(manifest.nodes.iter().map(|(name, kept)| (name.to_string(), kept.watermark)).collect())
    }

    #[test]
    fn a_node_is_found_by_its_previous_name_once_and_by_its_own_from_then_on() {
        let new = node("new", "old");
        assert_eq!(renamed(&["old", "other"], &new), Ok(vec![("new".to_owned(), 0), ("other".to_owned(), 1)]));
        assert_eq!(renamed(&["new"], &new), Ok(vec![("new".to_owned(), 0)]));
        // Its own name counts, and what is left over is refused elsewhere, by name.
        assert_eq!(renamed(&["new", "old"], &new), Ok(vec![("new".to_owned(), 0), ("old".to_owned(), 1)]));
    }

    #[test]
    fn a_name_that_the_checkpoint_does_not_have_is_refused_with_those_that_it_has() {
        insta::assert_snapshot!(renamed(&["other", "third"], &node("new", "odl")).unwrap_err());
        insta::assert_snapshot!(renamed(&[], &node("new", "old")).unwrap_err());
    }
}
