//! What a server is told: `weir.toml`, variables `WEIR__SECTION__KEY`, flags, each over the one before. Reads them into plain
//! values, and knows where each came from; starts nothing.

mod layer;
mod shown;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_core::graph::fault::Fault;

use self::layer::Layer;
use super::diagnostics::Diagnostics;
use super::files::Files;
use super::reference::{self, Key};
use super::secrets::Secrets;
use super::source::Environment;
use super::{read, read_bounded, read_reference, unreadable};

pub use self::shown::Shown;

/// What the file is called in a data folder.
pub const FILE: &str = "weir.toml";

/// What a server is told, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where everything lies that it keeps.
    pub data: Option<PathBuf>,
    /// `HOST:PORT`.
    pub listen: String,
    /// Certificate, in PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// Other machines may come without TLS.
    pub allow_plain_http: bool,
    /// For last checkpoints at the end.
    pub shutdown_timeout: Duration,
    /// Connections at once.
    pub connections: u32,
    /// Uploads at once.
    pub uploads_at_once: u32,
    /// Memory for state; half of what there is where nothing is said.
    pub state_memory: Option<u64>,
    /// Guests at a time. Each has address space set aside for its memory, of which only what it touches is memory.
    pub instances: u32,
    /// All components together.
    pub registry_bytes: u64,
    /// CPU time for compiling one component.
    pub compile_cpu: Duration,
    /// Time on the clock for it.
    pub compile_wall: Duration,
    /// Address space for it, in bytes.
    pub compile_memory: u64,
    /// What pipelines may refer to.
    pub secrets: Secrets,
    /// What they may read and write.
    pub files: Files,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            data: None,
            listen: "127.0.0.1:7171".to_owned(),
            tls_cert: None,
            tls_key: None,
            allow_plain_http: false,
            shutdown_timeout: Duration::from_secs(25),
            connections: 64,
            uploads_at_once: 4,
            state_memory: None,
            instances: 4096,
            registry_bytes: 4 << 30,
            compile_cpu: Duration::from_secs(60),
            compile_wall: Duration::from_secs(300),
            compile_memory: 1 << 30,
            secrets: Secrets::default(),
            files: Files::default(),
        }
    }
}

/// One value that a flag gave.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As it is typed: `--listen`.
    pub flag: &'static str,
    /// What it sets: `server.listen`.
    pub key: &'static str,
    /// To what.
    pub value: String,
}

/// What was read.
#[derive(Debug)]
pub struct Loaded {
    /// All of it together.
    pub server: Server,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What is shown of each key that was said, and who said it last.
    said: BTreeMap<String, (String, String)>,
}

/// Reads all layers; what is wrong in each comes back together. Without `file` it is `weir.toml` in the data folder that a
/// variable or a flag names, where there is one. `variables` are those of the environment.
pub fn load(file: Option<&Path>, variables: &[(String, String)], flags: &[Flag]) -> Result<Loaded, Vec<Diagnostics>> {
    let keys = reference::server_keys();
    let over = [Layer::variables(variables, &keys), Layer::flags(flags, &keys)];
    let mut loaded = Loaded { server: Server::default(), file: None, said: BTreeMap::new() };
    let mut faults: Vec<Diagnostics> = over.iter().filter_map(|layer| loaded.take(layer, variables).err()).collect();
    loaded.file = match (file, &loaded.server.data) {
        (Some(file), _) => Some(file.to_owned()),
        (None, Some(data)) => Some(data.join(FILE)).filter(|file| file.exists()),
        (None, None) => None,
    };
    let Some(path) = loaded.file.clone() else { return loaded.whole(faults) };
    let lookup = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let under = read_file(&path, &lookup);
    // Once more, from the bottom.
    (loaded.server, loaded.said) = (Server::default(), BTreeMap::new());
    match under {
        Ok(under) => faults.extend(loaded.take(&under, variables).err()),
        Err(fault) => faults.push(fault),
    }
    for layer in &over {
        // What is wrong with it has been said.
        let _ = loaded.take(layer, variables);
    }
    loaded.whole(faults)
}

fn read_file(path: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Layer, Diagnostics> {
    let name = path.display().to_string();
    let text = read_bounded(path)
        .map_err(|e| unreadable(path, &name, &e, ("a file of settings", "weir serve --config weir.toml")))?;
    let environment = Environment { variable, file: Some(&read_reference), base: Some(folder(path)), secrets: None };
    Layer::file(path, &text, &environment)
}

/// What relative paths in it are relative to.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Loaded {
    /// Lays one over what is there.
    fn take(&mut self, layer: &Layer, variables: &[(String, String)]) -> Result<(), Diagnostics> {
        let lookup = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let environment = Environment { variable: &lookup, file: None, base: Some(layer.base()), secrets: None };
        let mut problems = Vec::new();
        read::server(layer.source().tree(), layer.source().text(), &environment, &mut problems, &mut self.server);
        self.said.extend(layer.said());
        match problems.is_empty() {
            true => Ok(()),
            false => Err(layer.source().diagnostics(problems)),
        }
    }

    /// What no layer can know alone.
    fn whole(self, mut faults: Vec<Diagnostics>) -> Result<Loaded, Vec<Diagnostics>> {
        let lacks = match (&self.server.tls_cert, &self.server.tls_key) {
            (Some(_), None) => Some(("server.tls_key", "`tls_cert` needs `tls_key`: the file with its key")),
            (None, Some(_)) => Some(("server.tls_cert", "`tls_key` needs `tls_cert`: the file with its certificate")),
            _ => None,
        };
        if let Some((at, message)) = lacks {
            let fault = Fault::error("weir::config::missing_key", at, message)
                .help("give both, in [server] of weir.toml, or with --tls-cert FILE --tls-key FILE");
            faults.push(Diagnostics::without_text("TLS", fault));
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }

    /// Every key with its value, and who said it.
    pub fn shown(&self) -> Vec<Shown> {
        let keys = reference::server_keys().into_iter().filter(|key| !key.table.is_empty());
        keys.map(|Key { table, key, default, .. }| {
            let name = format!("{table}.{key}");
            match self.said.get(&name) {
                Some((value, origin)) => Shown { key: name, value: value.clone(), origin: origin.clone() },
                None => Shown { key: name, value: default.to_owned(), origin: "default".to_owned() },
            }
        })
        .collect()
    }
}
