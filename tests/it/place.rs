//! A folder of a test's own with pipelines of files in it: writes input and pipeline files, runs weir there, reads what was
//! published, and the operators of `tests/guests` as components. It judges nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use weir_tests::draft::Draft;
use weir_tests::process::{Finished, Weir};
use weir_tests::repository;

/// Longer than anything here takes, restarts of a failing pipeline included.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The pipeline `kept`: a generator through the ledger into the folder `out`, `rate` records a second.
    pub(crate) fn of_ledger(interval: &str, records: usize, rate: u32) -> Self {
        let made = format!("count = {records}\nrate = {rate}");
        let draft = Draft::new("kept", &format!("interval = \"{interval}\"")).records("made", 10, &made);
        Self::over(&draft.node("ledger", &guest("ledger"), &["made"], "/k", "").file_sink("out", &["ledger"]))
    }

    /// A folder with this pipeline.
    pub(crate) fn over(draft: &Draft) -> Self {
        let place = Self::new();
        place.pipeline(draft.text());
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Writes `p.toml`.
    pub(crate) fn pipeline(&self, text: &str) {
        self.write("p.toml", text);
    }

    /// `weir run p.toml --state state`, with warnings, errors and what guests say.
    pub(crate) fn run(&self) -> Weir {
        Weir::run("p.toml", "state").directory(self.0.path()).env("WEIR_LOG", "warn,guest=info")
    }

    #[track_caller]
    pub(crate) fn finish(&self) -> Finished {
        self.run().finish(SOON)
    }

    /// The rows that a file sink has published, in order.
    pub(crate) fn rows(&self, sink: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(sink)) else { return Vec::new() };
        let mut parts: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        parts.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        parts.sort();
        let text: String = parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect();
        text.lines().map(str::to_owned).collect()
    }

    /// Everything below the folder, by its relative path, but for sockets; folders have no content.
    pub(crate) fn content(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        walk(self.0.path(), self.0.path(), &mut found);
        found
    }
}

/// Copies files and folders; sockets belong to whoever runs there.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_folder(&path, &to),
            // One that goes while its folder is copied is not missed.
            false if path.is_file() => drop(fs::copy(&path, &to)),
            false => {}
        }
    }
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_owned();
        if path.is_dir() {
            found.insert(name, None);
            walk(root, &path, found);
        } else if path.is_file() {
            found.insert(name, Some(fs::read(&path).unwrap()));
        }
    }
}

/// What cargo makes of an operator in `tests/guests`, built where it is not.
fn built(name: &str, target: &str) -> PathBuf {
    let guests = repository().join("tests/guests");
    let module = guests.join("target").join(target).join("release").join(format!("{name}.wasm"));
    if !module.is_file() {
        assert!(Command::new("sh").arg(guests.join("build.sh")).status().unwrap().success(), "tests/guests/build.sh");
    }
    module
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The component of an operator in `tests/guests`.
pub(crate) fn guest(name: &str) -> PathBuf {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let component = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.wasm", std::process::id()));
    if component.is_file() {
        return component;
    }
    let core = fs::read(built(name, "wasm32-unknown-unknown")).unwrap();
    fs::write(&component, weir::guest::component::componentize(&core).unwrap()).unwrap();
    component
}

/// The component of an operator in `tests/guests` that cargo builds as one.
pub(crate) fn guest_of_wasip2(name: &str) -> PathBuf {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    built(name, "wasm32-wasip2")
}

/// A component or module that is kept as text.
pub(crate) fn guest_text(name: &str) -> Vec<u8> {
    wat::parse_file(repository().join("tests/guests").join(format!("{name}.wat"))).unwrap()
}

/// JSON lines `{"k":…,"n":…,"ts":…}`, `n` from 1, 17 keys, a millisecond of event time each.
pub(crate) fn numbered_lines(count: u64) -> Vec<String> {
    let line = |n| format!(r#"{{"k":"k{}","n":{n},"ts":{}}}"#, n % 17, 1_700_000_000_000 + n);
    (1..=count).map(line).collect()
}

/// Changes the manifest of a savepoint as if it had been written so.
pub(crate) fn reseal(savepoint: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = savepoint.join("manifest");
    let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = weir::hex::sha256(&bytes);
    let check = weir::hex::sha256(digest.as_bytes());
    fs::write(&path, bytes).unwrap();
    let format = serde_json::json!({"version": 1, "manifest": digest, "check": check});
    fs::write(savepoint.join("format"), format.to_string()).unwrap();
}
