//! References to secrets in pipelines that come over HTTP: which variables and files a server lets them use, and where in a
//! pipeline one may stand. Elsewhere the server's environment and files do not exist for them, so that no secret can come into
//! an error, a topic's name or an operator's configuration.

use std::fs;
use std::path::{Path, PathBuf};

use weir_core::graph::fault::Fault;

use super::Loaded;
use super::tree::{Tree, Value};

/// Where a secret may stand, for people.
const PLACES: &str = "security.username, security.password, and [nodes.NAME.secrets]";

/// What a server lets pipelines refer to: nothing, unless it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Names of variables; a `*` at the end stands for any rest.
    pub env: Vec<String>,
    /// The folder that files must lie below.
    pub files: Option<PathBuf>,
}

/// Whether it names variables.
pub(super) fn is_pattern(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    // A lone `*` would be all of the server's environment.
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    begins && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a secret may stand at this path of a pipeline.
pub(super) fn is_place(path: &str) -> bool {
    let steps: Vec<&str> = path.split('.').collect();
    match steps[..] {
        ["nodes", _, "secrets", _, ..] => true,
        ["defaults", "kafka", "security", key] | ["sources" | "sinks", _, "security", key] => {
            key == "password" || key == "username"
        }
        _ => false,
    }
}

/// Whether it is a reference and nothing else: a default, or a part beside it, would be a secret in the text.
fn is_reference(written: &str) -> bool {
    let inner = written.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| {
        let kind = inner.starts_with("env:") || inner.starts_with("file:");
        kind && !inner.contains(['{', '}']) && !inner.contains(":-")
    })
}

impl Secrets {
    /// The value of a variable that pipelines may use.
    pub(super) fn variable(&self, name: &str, path: &str) -> Result<String, Fault> {
        let is_allowed = |pattern: &String| match pattern.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == pattern,
        };
        let refuse = |message, help: &str| Err(Fault::error("weir::server::secret", path, message).help(help));
        if !self.env.iter().any(is_allowed) {
            let message = format!("this server does not let pipelines use the variable `{name}`");
            return refuse(message, "who runs the server adds it to env in [secrets] of weir.toml");
        }
        match std::env::var(name) {
            Ok(value) => Ok(value),
            Err(_) => refuse(
                format!("the variable `{name}` is not set in the server's environment"),
                "set it and start the server again",
            ),
        }
    }

    /// What a file holds that pipelines may use.
    pub(super) fn file(&self, file: &str, path: &str) -> Result<String, Fault> {
        let refuse = |message, help: &str| Fault::error("weir::server::secret", path, message).help(help);
        let found = self.locate(Path::new(file)).ok_or_else(|| {
            // One answer for what is not there and what is elsewhere: nobody feels his way through the server's files.
            let message = format!("there is no file `{file}` that this server lets pipelines use");
            refuse(message, "it lies below files in [secrets] of weir.toml, and no link leads out of there")
        })?;
        super::read_reference(&found).map_err(|error| {
            refuse(format!("cannot read the file `{file}`: {error}"), "who runs the server can say more")
        })
    }

    /// Whether pipelines may use this file.
    pub fn has(&self, file: &Path) -> bool {
        self.locate(file).is_some()
    }

    /// Where it is, without links: what is read is what was looked at.
    fn locate(&self, file: &Path) -> Option<PathBuf> {
        let folder = fs::canonicalize(self.files.as_ref()?).ok()?;
        let found = fs::canonicalize(folder.join(file)).ok()?;
        (found.starts_with(&folder) && found.is_file()).then_some(found)
    }
}

/// Why a variable does not exist where it is asked for.
pub(super) fn not_here(name: &str, path: &str) -> Fault {
    let message = format!("the environment variable `{name}` is not set");
    let help = format!("give a default: ${{env:{name}:-VALUE}}; variables of the server stand only in {PLACES}");
    Fault::error("weir::config::missing_variable", path, message).help(help)
}

/// The same of a file.
pub(super) fn no_file_here(path: &str) -> Fault {
    let fault = Fault::error("weir::config::missing_file", path, "`${file:…}` is not allowed here over HTTP");
    fault.help(format!("files of the server stand only in {PLACES}"))
}

impl Loaded {
    /// Secrets that stand in the text itself, where they would be kept with it.
    pub fn literal_secrets(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        visit(self.source.tree(), "", &mut faults);
        faults
    }
}

fn visit(tree: &Tree, path: &str, faults: &mut Vec<Fault>) {
    match &tree.value {
        Value::Table(entries) => {
            for entry in entries {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                visit(&entry.tree, &path, faults);
            }
        }
        Value::String(text)
            if is_place(path)
                && (path.starts_with("nodes.") || path.ends_with(".security.password"))
                && !text.is_empty()
                && !tree.written.as_deref().is_some_and(is_reference) =>
        {
            let message = format!("`{path}` is a secret, and a server keeps none in a pipeline");
            let fault = Fault::error("weir::server::literal_secret", path, message);
            faults.push(fault.help("refer to it and to nothing else: \"${env:NAME}\" or \"${file:PATH}\""));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use weir_core::graph::spec::SourceKind;

    use super::*;
    use crate::settings::{Environment, Format, parse};

    #[test]
    fn a_file_is_found_only_below_the_folder_by_whatever_name() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, outside) = (dir.path().join("secrets"), dir.path().join("outside"));
        fs::create_dir_all(folder.join("..data")).unwrap();
        fs::write(&outside, "no").unwrap();
        fs::write(folder.join("..data/pw"), "yes\n").unwrap();
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
        link(Path::new("..data/pw"), "pw");
        link(&outside, "out");
        link(dir.path(), "up");
        let secrets = Secrets { env: vec![], files: Some(folder.clone()) };
        for good in ["pw", "./pw", "..data/pw", "../secrets/pw", folder.join("pw").to_str().unwrap()] {
            assert_eq!(secrets.file(good, "").unwrap(), "yes\n", "{good}");
        }
        for bad in ["../outside", "out", "up/outside", outside.to_str().unwrap(), "gone", "", ".", "/etc/hostname"] {
            assert!(secrets.file(bad, "").unwrap_err().message.starts_with("there is no file"), "{bad}");
        }
        assert!(Secrets::default().file("pw", "").is_err());
    }

    #[test]
    fn a_pattern_is_a_name_and_perhaps_any_rest() {
        for good in ["KAFKA_PASSWORD", "TEAM_*", "_x", "a1*"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", "*", "A*B", "A-B", "1A", "**", "A **"] {
            assert!(!is_pattern(bad), "{bad}");
        }
        let secrets = Secrets { env: vec!["PAT*".into(), "HOM".into()], files: None };
        assert_eq!(secrets.variable("PATH", "").unwrap(), std::env::var("PATH").unwrap());
        for (bad, why) in [("HOME", "does not let"), ("PA", "does not let"), ("HOM", "is not set")] {
            assert!(secrets.variable(bad, "").unwrap_err().message.contains(why), "{bad}");
        }
    }

    #[test]
    fn a_reference_is_replaced_where_secrets_belong_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pw"), "hunter2\n").unwrap();
        let secrets = Secrets { env: vec!["PATH".into()], files: Some(dir.path().to_owned()) };
        let environment = Environment { variable: &|_| None, file: None, base: None, secrets: Some(&secrets) };
        let text = |topic: &str| {
            format!(
                "version = 1\nname = \"a\"\n[defaults.kafka]\nbrokers = \"b:1\"\nsecurity = {{ protocol = \"sasl_ssl\", mechanism = \
                 \"PLAIN\", username = \"${{env:PATH}}\", password = \"${{file:pw}}\" }}\n[sources.s]\ntype = \"kafka\"\n\
                 topic = \"{topic}\"\n[sinks.out]\ntype = \"discard\"\ninputs = [\"s\"]\n"
            )
        };
        let loaded = parse(&text("${env:PATH:-t}"), "a.toml", Format::Toml, &environment).unwrap();
        let SourceKind::Kafka(kafka) = &loaded.spec.sources[0].kind else { panic!() };
        let security = &kafka.client.security;
        assert_eq!(security.username, std::env::var("PATH").ok());
        assert_eq!(security.password.as_ref().unwrap().reveal(), "hunter2");
        assert_eq!(loaded.literal_secrets(), []);
        assert!(!format!("{loaded:?}").contains("hunter2"));
        let refused = parse(&text("${env:PATH}"), "a.toml", Format::Toml, &environment).unwrap_err();
        assert!(refused.to_string().contains("stand only in security.username"), "{refused}");
    }

    #[test]
    fn only_a_reference_alone_is_no_secret_in_the_text() {
        for good in ["${env:A}", "${file:/run/secrets/a}"] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", "hunter2", "${env:A:-hunter2}", "${env:A}hunter2", "${env:A}${env:B}", "$${env:A}", "x${env:A}"]
        {
            assert!(!is_reference(bad), "{bad}");
        }
    }

    #[test]
    fn a_secret_stands_where_secrets_belong() {
        for place in [
            "nodes.n.secrets.token",
            "nodes.n.secrets.a.b",
            "sinks.out.security.password",
            "defaults.kafka.security.username",
        ] {
            assert!(is_place(place), "{place}");
        }
        for other in [
            "nodes.n.config.token",
            "nodes.n.config.security.password",
            "sinks.out.topic",
            "sinks.out.security.key",
            "nodes.secrets.x",
        ] {
            assert!(!is_place(other), "{other}");
        }
    }
}
