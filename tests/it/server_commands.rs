//! What a platform team types: `weir op` and `weir pipeline` against a real server, over its public API.

use std::fs;
use std::path::Path;

use serde_json::Value;
use weir_tests::process::{Exit, Finished, Weir};

use crate::serve::{SOON, Server, plain};

struct Terminal<'a> {
    server: &'a Server,
    folder: &'a Path,
}

impl Terminal<'_> {
    fn weir(&self, line: &str) -> Finished {
        let weir = Weir::new(line.split(' ')).directory(self.folder);
        let url = format!("http://{}", self.server.address);
        weir.env("WEIR_SERVER", url).env("WEIR_TOKEN", &self.server.token).finish(SOON)
    }

    #[track_caller]
    fn says(&self, line: &str, what: &str) {
        let finished = self.weir(line).expect_success();
        assert!(finished.stdout.contains(what) || finished.stderr.contains(what), "{line}: {finished}");
    }
}

#[test]
fn operators_and_pipelines_are_handled_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let at = Terminal { server: &server, folder: dir.path() };
    fs::copy(weir_tests::repository().join("tests/fixtures/ip_count-0.1.0.wasm"), dir.path().join("x.wasm")).unwrap();
    at.says("op push x.wasm --name ip-count --version 1.0.0", "ip-count@1.0.0  sha256 ");
    let other = at.weir("op push x.wasm --name other --version 1.0.0").expect_success();
    assert!(other.stderr.contains("warning: the component calls itself `ip-count`"), "{other}");
    assert!(other.stderr.contains("version 0.1.0, and here it is other@1.0.0"), "{other}");
    let own = at.weir("op push x.wasm").expect_success();
    assert!(own.stdout.starts_with("ip-count@0.1.0  sha256 ") && !own.stderr.contains("hint"), "{own}");
    for other_path in
        ["problems k/nope", "pipeline show k/nope", "pipeline rm ../k", "op list a/b", "op show a/b@1", "op rm a@1/2"]
    {
        let wrong = at.weir(other_path).expect(Exit::Code(2));
        assert!(wrong.stderr.contains("is not a name") || wrong.stderr.contains("is not a version"), "{wrong}");
    }
    at.says("op list", "ip-count  0.1.0 1.0.0");
    let example = fs::read_to_string(weir_tests::repository().join("examples/ip-count/local.toml")).unwrap();
    for (version, says) in [("1", "ip-count@1 is 1.0.0 (sha256 "), ("1.0.0", "")] {
        let text = example.replace("target/weir/ip_count.wasm", &format!("ip-count@{version}"));
        fs::write(dir.path().join("range.toml"), text.replace("\"out\"", &format!("{:?}", dir.path().join("out"))))
            .unwrap();
        let planned = at.weir("pipeline apply range.toml --dry-run").expect_success().stdout;
        assert!(planned.contains(says) && planned.contains("sha256") != says.is_empty(), "{planned}");
    }
    at.says("op list ip-count --format json", "\"1.0.0\"");
    at.says("op show ip-count@1", "callbacks: ");
    at.says("op rm ip-count@0.1.0", "ip-count@0.1.0 is deleted");
    at.weir("op show ip-count@0.1.0").expect(Exit::Code(3));

    fs::write(dir.path().join("p.toml"), plain("p", &dir.path().join("out"), 1_000_000, 100)).unwrap();
    at.says("pipeline apply p.toml --dry-run", "pipeline `p` would be new");
    at.weir("pipeline show p").expect(Exit::Code(3));
    at.says("pipeline apply p.toml", "pipeline `p`: running, revision 1");
    at.says("pipeline apply p.toml", "pipeline `p` is at revision 1 already");
    at.says("pipeline list", "p         running");
    at.says("pipeline pause p", "pipeline `p`: paused");
    at.weir("pipeline rm p").expect(Exit::Code(1));
    at.says("pipeline resume p", "pipeline `p`: running");
    at.says("pipeline restart p", "pipeline `p`: running");
    at.says("pipeline stop p", "pipeline `p`: stopped");
    at.says("pipeline restart p", "pipeline `p`: running");
    at.says("pipeline cancel p", "pipeline `p`: stopped");
    let shown = at.weir("pipeline show p --format json").expect_success().stdout;
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["state"], "stopped");
    at.says("pipeline rm p", "deleted");
    assert_eq!(at.weir("pipeline list --format json").expect_success().stdout.trim(), "[]");

    fs::write(
        dir.path().join("bad.toml"),
        "version = 1\nname = \"bad\"\n[sinks.s]\ntype = \"disc\"\ninputs = [\"a\"]\n",
    )
    .unwrap();
    let bad = at.weir("pipeline apply bad.toml").expect(Exit::Code(3));
    assert!(bad.stderr.contains("bad.toml:4:"), "{bad}");
    let nobody = Weir::new(["pipeline", "list", "--server", "http://127.0.0.1:1"]).finish(SOON).expect(Exit::Code(5));
    assert!(nobody.stderr.contains("no server answers at 127.0.0.1:1"), "{nobody}");
    let nameless = Weir::new(["op", "list", "--server", &format!("http://{}", server.address)]).finish(SOON);
    assert!(nameless.expect(Exit::Code(5)).stderr.contains("--token-file FILE gives it"), "a token is needed");
}

#[test]
fn a_paused_pipeline_stays_so_behind_a_kill_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out, truth) = (dir.path().join("data"), dir.path().join("out"), dir.path().join("truth"));
    let mut server = Server::start(&data);
    server.apply("truth", &plain("truth", &truth, 3000, 1_000_000)).expect(201);
    server.apply("p", &plain("p", &out, 3000, 1500)).expect(201);
    server.wait_for("p", "a checkpoint", |view| view["last_checkpoint"]["epoch"].as_u64() >= Some(1));
    let paused = server.send("POST", "/api/v1/pipelines/p:pause", &[], b"{\"wait\": true}").expect(200);
    assert_eq!(paused.json()["state"], "paused", "{paused:?}");
    server.send("DELETE", "/api/v1/pipelines/p", &[], b"").expect_problem(409, "pipeline-paused");
    server.process.kill9();
    server = Server::start(&data);
    assert_eq!(server.get("p")["state"], "paused");
    server.send("POST", "/api/v1/pipelines/p:resume", &[], b"").expect(202);
    server.wait_for_state("p", "stopped");
    assert_eq!(crate::serve::rows(&out), crate::serve::rows(&truth));
    server.send("POST", "/api/v1/pipelines/p:restart", &[], b"").expect_problem(409, "pipeline-ended");
    server.send("POST", "/api/v1/pipelines/p:resume", &[], b"").expect_problem(409, "pipeline-not-paused");
}
