//! Each case of a checkpoint against a declaration, and the words of a refusal.

use serde_json::json;

use super::*;
use crate::guest::StateDecl;

/// A checkpoint whose node `count` has these states: name, id, kind, version.
fn manifest(kind: &str, states: &[(&str, u16, &str, u32)], dropped: &[u16]) -> Manifest {
    let states = states
        .iter()
        .map(|(name, id, kind, version)| ((*name).to_owned(), json!({"id": id, "kind": kind, "version": version})));
    let states: serde_json::Map<String, serde_json::Value> = states.collect();
    serde_json::from_value(json!({
        "version": 1, "pipeline": "a", "lineage": "", "epoch": 41, "token": 7, "kind": kind, "created_at": 0,
        "key_groups": 128, "sources": {}, "nodes": {"count": {"states": states, "watermark": 0}},
        "state": {"base": {}, "deltas": []}, "dropped": dropped,
    }))
    .unwrap()
}

/// An operator with these states: name, kind, version.
fn operator(states: &[(&str, &str, u32)], callbacks: &[&str]) -> Descriptor {
    let states = states.iter().map(|(name, kind, version)| StateDecl {
        name: (*name).to_owned(),
        kind: (*kind).to_owned(),
        version: *version,
        options: Vec::new(),
    });
    Descriptor {
        name: "count".to_owned(),
        version: "2.0.0".to_owned(),
        states: states.collect(),
        callbacks: callbacks.iter().map(|name| (*name).to_owned()).collect(),
        ..Descriptor::default()
    }
}

fn declaring(descriptor: &Descriptor) -> Declaring<'_> {
    Declaring { descriptor, operator: format!("{}@{}", descriptor.name, descriptor.version) }
}

fn fits(manifest: &Manifest, operator: &Descriptor) -> Vec<(String, Fit)> {
    let node = Name::new("count").unwrap();
    verdicts(manifest, &[(&node, declaring(operator))])
        .into_iter()
        .map(|verdict| (verdict.state, verdict.fit))
        .collect()
}

#[track_caller]
fn check(found: (&str, u32), declared: (&str, u32), callbacks: &[&str], fit: Fit) {
    let manifest = manifest("checkpoint", &[("counts", 0, found.0, found.1)], &[]);
    let operator = operator(&[("counts", declared.0, declared.1)], callbacks);
    assert_eq!(fits(&manifest, &operator), [("counts".to_owned(), fit)], "{found:?} {declared:?} {callbacks:?}");
}

#[test]
fn version_and_kind_and_the_callback_decide() {
    check(("value", 1), ("value", 1), &[], Fit::Same);
    check(("map", 3), ("map", 3), &["migrate"], Fit::Same);
    check(("value", 1), ("value", 2), &["migrate"], Fit::Migrated);
    check(("map", 1), ("map", 7), &["close", "migrate"], Fit::Migrated);
    check(("value", 1), ("value", 2), &["close"], Fit::NoMigration);
    // Not even with `migrate`: it knows what came before it, not what comes.
    check(("value", 2), ("value", 1), &["migrate"], Fit::Older);
    check(("value", 1), ("map", 1), &[], Fit::OtherKind);
    check(("value", 1), ("map", 2), &["migrate"], Fit::OtherKind);
}

#[test]
fn what_the_checkpoint_lacks_begins_empty_and_what_nobody_declares_is_named() {
    let manifest =
        manifest("checkpoint", &[("old", 0, "value", 1), ("out", 1, "value", 4), (TIMERS, 2, "timers", 1)], &[1]);
    // `out` was left out before: declared again it is another one, whatever its version.
    let operator = operator(&[("new", "value", 5), ("out", "value", 1)], &[]);
    let expected = [("new", Fit::New), ("out", Fit::New), ("old", Fit::NotDeclared)];
    assert_eq!(fits(&manifest, &operator), expected.map(|(name, fit)| (name.to_owned(), fit)));
    let all: Vec<(String, Fit)> =
        verdicts(&manifest, &[]).into_iter().map(|verdict| (verdict.state, verdict.fit)).collect();
    assert_eq!(all, [(TIMERS, Fit::NotDeclared), ("old", Fit::NotDeclared)].map(|(name, fit)| (name.to_owned(), fit)));
}

#[test]
fn timers_are_the_same_or_refused() {
    let timers = |version| manifest("checkpoint", &[(TIMERS, 0, "timers", version)], &[]);
    let operator = operator(&[], &["timers", "migrate"]);
    for (version, fit) in [(1, Fit::Same), (0, Fit::NoMigration), (2, Fit::Older)] {
        assert_eq!(fits(&timers(version), &operator), [(TIMERS.to_owned(), fit)]);
    }
}

#[test]
fn refusal_names_both_sides_and_what_can_be_done() {
    let refused = |kind: &str, found: (&str, u32), declared: (&str, u32)| {
        let manifest = manifest(kind, &[("counts", 0, found.0, found.1)], &[]);
        let node = Name::new("count").unwrap();
        let operator = operator(&[("counts", declared.0, declared.1)], &[]);
        refusal(&verdicts(&manifest, &[(&node, declaring(&operator))]))
    };
    let all = [
        refused("savepoint", ("value", 1), ("value", 2)),
        refused("checkpoint", ("value", 2), ("value", 1)),
        refused("checkpoint", ("value", 1), ("map", 1)),
    ];
    insta::assert_snapshot!(all.map(Option::unwrap).join("\n"));
    assert_eq!(refused("checkpoint", ("value", 1), ("value", 1)), None);
}

#[test]
fn verdict_is_plain_json() {
    let manifest = manifest("checkpoint", &[("counts", 0, "value", 1)], &[]);
    let node = Name::new("count").unwrap();
    let operator = operator(&[("counts", "value", 2)], &["migrate"]);
    let [verdict] = &verdicts(&manifest, &[(&node, declaring(&operator))])[..] else { panic!() };
    assert_eq!(
        serde_json::to_value(verdict).unwrap(),
        json!({
            "node": "count", "state": "counts", "found": {"kind": "value", "version": 1},
            "declared": {"kind": "value", "version": 2}, "fit": "migrated",
            "says": "checkpoint 41-7 has state \"counts\" v1 (value) of node \"count\"; count@2.0.0 declares v2 (value) and migrates it",
        })
    );
}
