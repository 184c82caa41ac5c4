//! What a server asks of a pipeline's text: that it is a pipeline, of the name in its path, and needs nothing of the server
//! but its registry. Keeps nothing and runs nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;

use weir_core::graph::spec::Node;
use weir_core::ids::Name;

use super::Error;
use super::misfits::misfits;
use super::revision::{Language, Pin, Revision};
use crate::pipeline::job::Checked;
use crate::registry::{Registry, Version};
use crate::settings::{self, Environment, Files, Format, Loaded, Secrets};

/// What a text is checked against.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) registry: &'a Registry,
    pub(super) files: &'a Files,
    pub(super) secrets: &'a Secrets,
}

/// A text that may run, and what the names of its operators mean now.
pub(super) struct Accepted {
    pub(super) checked: Checked,
    pub(super) operators: BTreeMap<String, Pin>,
}

impl Accepted {
    /// Bytes that its guests may take, all subtasks together.
    pub(super) fn memory(&self) -> u64 {
        let of = |node: &Node| node.limits.memory_bytes.saturating_mul(u64::from(node.parallelism));
        self.checked.pipeline.nodes.iter().map(of).fold(0, u64::saturating_add)
    }
}

/// Checks a text that is to run: no secret stands in it, since it will be kept; its operators are compiled and opened. What a name in
/// `kept` means is not looked up again.
pub(super) fn check(
    ground: Ground<'_>,
    name: &Name,
    language: Language,
    text: &str,
    kept: &BTreeMap<String, Pin>,
) -> Result<Accepted, Error> {
    let Ground { registry, secrets, .. } = ground;
    let loaded = parse(secrets, name, language, text)?;
    let invalid = |faults| Error::Invalid(loaded.faults(faults));
    let mut misfits = misfits(&loaded.spec, ground);
    misfits.extend(loaded.literal_secrets());
    if !misfits.is_empty() {
        return Err(invalid(misfits));
    }
    let pins = RefCell::<BTreeMap<String, Pin>>::default();
    let lookup = |name: &Name, written: &str| {
        let full = format!("{name}@{written}");
        let pin = match kept.get(&full) {
            Some(pin) => pin.clone(),
            None => {
                let Version { version, sha256, .. } =
                    registry.get(name.as_str(), written).map_err(|e| e.to_string())?;
                Pin { version, sha256 }
            }
        };
        let bytes = registry.blob_bytes(&pin.sha256).map_err(|e| e.to_string())?;
        pins.borrow_mut().insert(full, pin);
        Ok(bytes)
    };
    let checked = Checked::new(loaded.spec.clone(), registry.engine(), Some(&lookup));
    let checked = checked.and_then(Checked::rehearse).map_err(invalid)?;
    Ok(Accepted { checked, operators: pins.take() })
}

/// Reads a revision again, whose operators are what they were when it was made. With `rehearse`, what would stop its start is
/// found too: not for one that is only to be deleted, whatever has become of its files.
pub(super) fn check_again(
    ground: Ground<'_>,
    name: &Name,
    revision: &Revision,
    rehearse: bool,
) -> Result<Checked, Error> {
    let Ground { registry, secrets, .. } = ground;
    let loaded = parse(secrets, name, revision.language, &revision.text)?;
    // Links may lead elsewhere by now.
    let misfits = if rehearse { misfits(&loaded.spec, ground) } else { Vec::new() };
    if !misfits.is_empty() {
        return Err(Error::Invalid(loaded.faults(misfits)));
    }
    let lookup = |name: &Name, written: &str| {
        let pin = revision.operators.get(&format!("{name}@{written}"));
        let pin = pin.ok_or_else(|| format!("revision {} does not say which {name}@{written} is", revision.number))?;
        registry.blob_bytes(&pin.sha256).map_err(|e| e.to_string())
    };
    let checked = Checked::new(loaded.spec.clone(), registry.engine(), Some(&lookup));
    let checked = if rehearse { checked.and_then(Checked::rehearse) } else { checked };
    checked.map_err(|faults| Error::Invalid(loaded.faults(faults)))
}

/// The nodes of a revision, of whatever kind. No operator is loaded for it.
pub(super) fn nodes(ground: Ground<'_>, name: &Name, revision: &Revision) -> Result<Vec<Name>, Error> {
    let spec = parse(ground.secrets, name, revision.language, &revision.text)?.spec;
    let sources = spec.sources.into_iter().map(|source| source.name);
    let nodes = spec.nodes.into_iter().map(|node| node.name);
    Ok(sources.chain(nodes).chain(spec.sinks.into_iter().map(|sink| sink.name)).collect())
}

fn parse(secrets: &Secrets, name: &Name, language: Language, text: &str) -> Result<Loaded, Error> {
    let (format, file) = match language {
        Language::Toml => (Format::Toml, format!("{name}.toml")),
        Language::Json => (Format::Json, format!("{name}.json")),
    };
    // The server's own environment and files are not for those who may apply a pipeline, but for what it lets them use.
    let environment = Environment { variable: &|_| None, file: None, base: None, secrets: Some(secrets) };
    let loaded = settings::parse(text, &file, format, &environment).map_err(Error::Invalid)?;
    if loaded.spec.name != *name {
        return Err(Error::OtherName { path: name.clone(), file: loaded.spec.name.clone() });
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::guest::Engine;

    #[test]
    fn no_pipeline_reads_or_writes_the_data_folder_by_whatever_name() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().canonicalize().unwrap().join("data");
        let registry = Registry::open(&data.join("registry"), Engine::new(1).unwrap()).unwrap();
        std::fs::write(data.join("admin-token"), "secret").unwrap();
        std::os::unix::fs::symlink(&data, dir.path().join("link")).unwrap();
        let outside = dir.path().join("in.jsonl");
        std::fs::write(&outside, "").unwrap();
        let name = Name::new("a").unwrap();
        let secrets = Secrets::default();
        let files = Files { own: vec![(data.clone(), "the server's data folder")], ..Files::default() };
        let ground = Ground { registry: &registry, files: &files, secrets: &secrets };
        let refused = |source: &Path, sink: &Path| {
            let (source, sink) = (source.display(), sink.display());
            let text = format!(
                "version = 1\nname = \"a\"\n[sources.s]\ntype = \"file\"\npath = \"{source}\"\n[sinks.out]\n\
                 type = \"file\"\npath = \"{sink}\"\ninputs = [\"s\"]\n"
            );
            match check(ground, &name, Language::Toml, &text, &BTreeMap::new()) {
                Err(Error::Invalid(faults)) => faults.to_string(),
                Err(other) => panic!("{other}"),
                Ok(_) => String::new(),
            }
        };
        let (token, out) = (data.join("admin-token"), dir.path().join("out"));
        assert_eq!(refused(&outside, &out), "");
        for source in [&token, &dir.path().join("link/admin-token"), &data.join("../data/admin-token")] {
            assert!(refused(source, &out).starts_with("a.toml:5: "), "{}", refused(source, &out));
        }
        for sink in ["data/new/out", "link/pipelines/b", "gone/../data", "data"] {
            let said = refused(&outside, &dir.path().join(sink));
            assert!(said.contains("lies in the server's data folder"), "{sink}: {said}");
        }
        assert_eq!(refused(&outside, &dir.path().join("data-of-others")), "");
    }
}
