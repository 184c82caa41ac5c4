//! A `weir serve` of a benchmark's own: real HTTP, the admin token, operators of `tests/guests`. Dropped, it is killed. It
//! judges no answer but whether it is a good one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::http::{Answer, request};
use crate::probe::Probe;
use crate::process::Weir;
use crate::wait::wait_for;

/// Longer than a start, an upload and what pipelines do with each takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// See the module.
pub struct Server {
    /// The process, its metrics and what it has used.
    pub probe: Probe,
    bearer: String,
}

impl Server {
    /// On this data folder, at a free port.
    #[track_caller]
    pub fn start(data: &Path) -> Server {
        let serve = Weir::new(["serve", "--listen", "127.0.0.1:0", "--data"]).argument(data).env("WEIR_LOG", "warn");
        let mut process = serve.spawn();
        let line = process.wait_for_line(PATIENCE, "serves http://");
        let address = line.rsplit("http://").next().unwrap_or_default().trim().to_owned();
        let token = fs::read_to_string(data.join("admin-token")).expect("a server that listens has its token");
        Server { probe: Probe { process, address }, bearer: format!("Bearer {}", token.trim()) }
    }

    /// One request below `/api/v1/`, whose answer must be a good one.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, content: &str, body: &[u8]) -> Answer {
        let headers = [("Authorization", self.bearer.as_str()), ("Content-Type", content)];
        let answer = request(&self.probe.address, method, &format!("/api/v1/{path}"), &headers, body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer
    }

    /// What there is at a path.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.send("GET", path, "application/json", b"").json()
    }

    /// Uploads a component.
    #[track_caller]
    pub fn upload(&self, name: &str, version: &str, component: &[u8]) -> Answer {
        self.send("PUT", &format!("operators/{name}/versions/{version}"), "application/wasm", component)
    }

    /// Applies the text of a pipeline.
    #[track_caller]
    pub fn apply(&self, name: &str, text: &str) -> Answer {
        self.send("PUT", &format!("pipelines/{name}"), "application/toml", text.as_bytes())
    }

    /// Waits until a pipeline is what is wanted of it. One that has failed will never be.
    #[track_caller]
    pub fn wait_for(&self, name: &str, what: &str, condition: impl Fn(&Value) -> bool) {
        wait_for(PATIENCE, &format!("{name}: {what}"), || {
            let view = self.get(&format!("pipelines/{name}"));
            assert_ne!(view["state"], "failed", "{view}");
            condition(&view).then_some(())
        });
    }

    /// Ends a pipeline at once, without a last checkpoint, and waits until it rests.
    #[track_caller]
    pub fn cancel(&self, name: &str) {
        self.send("POST", &format!("pipelines/{name}:cancel"), "application/json", br#"{"wait": true}"#);
    }
}

/// The component of an operator in `tests/guests`, which `.ci/guests` builds.
#[track_caller]
pub fn guest(name: &str) -> Vec<u8> {
    let path = crate::repository().join(format!("tests/guests/target/wasm32-unknown-unknown/release/{name}.wasm"));
    let module = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; .ci/guests builds it", path.display()));
    weir::guest::component::componentize(&module).expect("a module of tests/guests is an operator")
}
