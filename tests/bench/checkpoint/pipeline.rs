//! The pipelines of the benchmark: one or two generators into one counting node, rows discarded. `fill` writes each key
//! once, `touch` names random ones.

use std::fs;
use std::path::PathBuf;

use weir_tests::process::Weir;

/// Keys of the scene whose state takes a gibibyte on disk: some 73 characters, which do not compress, and a number.
pub(crate) const LARGE_KEYS: u64 = 15_000_000;

/// A pipeline with a folder of its own.
pub(crate) struct Scene {
    sources: Vec<(&'static str, String)>,
    interval: &'static str,
    parallelism: u32,
    /// Subtasks of the sink.
    sinks: u32,
    memory: Option<&'static str>,
    folder: tempfile::TempDir,
}

fn source(seed: u32, count: Option<u64>, rate: Option<u64>, key: &str) -> String {
    let count = count.map_or(String::new(), |count| format!("count = {count}\n"));
    let rate = rate.map_or(String::new(), |rate| format!("rate = {rate}\n"));
    format!("type = \"generator\"\nseed = {seed}\n{count}{rate}template = '{{\"k\":\"{key}\"}}'\n")
}

fn random_key(keys: u64) -> String {
    format!("key-{{{{int 0 {}}}}}", keys - 1)
}

impl Scene {
    fn new(sources: Vec<(&'static str, String)>) -> Scene {
        Scene { sources, interval: "1s", parallelism: 1, sinks: 1, memory: None, folder: tempfile::tempdir().unwrap() }
    }

    /// So many keys, each once, and then random ones of them at that rate.
    pub(crate) fn filled(keys: u64, rate: u64) -> Scene {
        let touch = source(3, None, Some(rate), &random_key(keys));
        Scene::new(vec![("fill", source(3, Some(keys), None, "key-{{seq}}")), ("touch", touch)])
    }

    /// Random ones of so many keys, as fast as it goes.
    pub(crate) fn random(keys: u64) -> Scene {
        Scene::new(vec![("touch", source(3, None, None, &random_key(keys)))])
    }

    /// The same from two generators: what has two inputs begins a chain of its own, so each row goes through one exchange
    /// by key, whatever the parallelism. The sink is in that chain.
    pub(crate) fn exchanged(keys: u64, parallelism: u32) -> Scene {
        let sources =
            [("touch", 3), ("other", 4)].map(|(name, seed)| (name, source(seed, None, None, &random_key(keys))));
        Scene { parallelism, sinks: parallelism, ..Scene::new(sources.into()) }
    }

    /// A gibibyte of state, and a few records a second.
    pub(crate) fn large() -> Scene {
        let fill = source(3, Some(LARGE_KEYS), None, "{{seq}}-{{hex 64}}");
        Scene::new(vec![("fill", fill), ("touch", source(3, None, Some(100), "key-{{int 0 99}}"))])
    }

    pub(crate) fn interval(self, interval: &'static str) -> Scene {
        Scene { interval, ..self }
    }

    /// All subtasks go into one sink: through a second exchange.
    pub(crate) fn gathered(self) -> Scene {
        Scene { sinks: 1, ..self }
    }

    pub(crate) fn memory(self, memory: &'static str) -> Scene {
        Scene { memory: Some(memory), ..self }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Bytes of the state files that are there now.
    pub(crate) fn state_bytes(&self) -> u64 {
        let files = fs::read_dir(self.state().join("checkpoints/files")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    /// The release binary over it.
    pub(crate) fn weir(&self) -> Weir {
        let weir = Weir::run(self.file(), self.state()).env("WEIR_LOG", "warn");
        match self.memory {
            Some(memory) => weir.argument("--state-memory").argument(memory),
            None => weir,
        }
    }

    fn file(&self) -> PathBuf {
        let operator = self.folder.path().join("count.wasm");
        let module = weir_tests::repository().join("tests/guests/target/wasm32-unknown-unknown/release/count.wasm");
        fs::write(&operator, weir::guest::component::componentize(&fs::read(module).unwrap()).unwrap()).unwrap();
        let mut text = format!("version = 1\nname = \"bench\"\n[checkpoint]\ninterval = \"{}\"\n", self.interval);
        let names: Vec<String> = self.sources.iter().map(|(name, _)| format!("{name:?}")).collect();
        for (name, source) in &self.sources {
            text += &format!("[sources.{name}]\n{source}");
        }
        text += &format!(
            "[nodes.count]\noperator = \"count.wasm\"\ninputs = [{}]\nkey = {{ json = \"/k\" }}\nparallelism = {}\n\
             [sinks.none]\ntype = \"discard\"\ninputs = [\"count\"]\nparallelism = {}\n",
            names.join(", "),
            self.parallelism,
            self.sinks
        );
        let path = self.folder.path().join("p.toml");
        fs::write(&path, text).unwrap();
        path
    }
}
