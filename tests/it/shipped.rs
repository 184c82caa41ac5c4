//! What is shipped for those who run a server is right: settings that are taken, a unit that systemd understands, rules and a
//! dashboard that ask for metrics that there are, and advice for every alert.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use weir_tests::http::request;
use weir_tests::process::Weir;
use weir_tests::{repository, weir_binary};

use crate::serve::{SOON, Server};

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// Every `weir_…` in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("weir_")).map(str::to_owned).collect()
}

#[test]
fn the_settings_that_are_shipped_are_taken() {
    let shown =
        Weir::new(["config", "show", "--origin", "--config"]).argument(repository().join("examples/deploy/weir.toml"));
    let shown = shown.finish(SOON).expect_success().stdout;
    assert!(shown.lines().any(|line| line.starts_with("server.data = \"/var/lib/weir\"")), "{shown}");
}

#[test]
fn the_unit_that_is_shipped_is_one_and_waits_for_longer_than_a_drain() {
    let unit = read("examples/deploy/weir.service");
    let seconds: u64 = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap().parse().unwrap();
    assert!(seconds > 25, "{seconds}");
    let dir = tempfile::tempdir().unwrap();
    let (path, here) = (dir.path().join("weir.service"), weir_binary());
    fs::write(&path, unit.replace("/usr/local/bin/weir", here.to_str().unwrap())).unwrap();
    match Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(&path).output() {
        Ok(said) => assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr)),
        Err(e) => eprintln!("not looked at by systemd: {e}"),
    }
}

#[test]
fn rules_and_dashboard_ask_for_metrics_that_are_exported_and_documented() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let text = request(&server.address, "GET", "/metrics", &[], b"").expect(200).body;
    let mut exported = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        exported.insert(if kind == "counter" { format!("{name}_total") } else { name.to_owned() });
    }
    let documented = metrics(&read("docs/metrics.md"));
    for file in ["examples/observability/alerts.yml", "examples/observability/dashboard.json"] {
        let asked = metrics(&read(file));
        assert!(asked.len() > 8, "{file}: {asked:?}");
        let gone: Vec<_> = asked.difference(&exported).collect();
        assert!(gone.is_empty(), "{file}: {gone:?} of {exported:?}");
        let unknown: Vec<_> = asked.difference(&documented).collect();
        assert!(unknown.is_empty(), "docs/metrics.md does not have {unknown:?}");
    }
    let unsaid: Vec<_> = exported.difference(&documented).collect();
    assert!(unsaid.is_empty(), "docs/metrics.md does not have {unsaid:?}");
    let _: Value = serde_json::from_str(&read("examples/observability/dashboard.json")).unwrap();
}

#[test]
fn every_alert_has_its_paragraph() {
    let (rules, docs) = (read("examples/observability/alerts.yml"), read("docs/operate.md"));
    let (_, section) = docs.split_once("\n## When an alert fires\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 5);
    for alert in alerts {
        assert!(section.contains(&format!("**{alert}**")), "docs/operate.md says nothing of {alert}");
    }
}
