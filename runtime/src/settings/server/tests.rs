//! Layers of settings: which one wins, where it says it stands, and how each complains.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::super::diagnostics::Style;
use super::super::read::seen;
use super::super::reference::{Key, server_keys};
use super::*;

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn flag(flag: &'static str, key: &'static str, value: &str) -> Flag {
    Flag { flag, key, value: value.to_owned() }
}

fn refused(file: Option<&Path>, variables: &[(String, String)], flags: &[Flag]) -> String {
    let faults = load(file, variables, flags).unwrap_err();
    faults.iter().map(|fault| fault.render(Style::Plain)).collect::<Vec<_>>().join("\n")
}

/// A file that says every default.
fn defaults() -> String {
    let mut text = String::new();
    let keys = server_keys();
    for section in ["server", "limits", "compile", "secrets", "files"] {
        text.push_str(&format!("[{section}]\n"));
        for Key { key, default, .. } in keys.iter().filter(|key| key.table == section) {
            let is_value = serde_json::from_str::<serde_json::Value>(default).is_ok();
            text.push_str(&if is_value { format!("{key} = {default}\n") } else { String::new() });
        }
    }
    text
}

#[test]
fn each_layer_wins_over_the_one_before_and_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("weir.toml");
    let text = "[server]\ndata = \"data\"\nlisten = \"${env:HOST}:1\"\nshutdown_timeout = \"5s\"\n[limits]\nconnections = 8\n\
                uploads_at_once = 2\n[secrets]\nenv = [\"A\", \"B_*\"]\nfiles = \"/run/secrets\"\n\
                [files]\nfolders = [\"/srv\"]\n";
    fs::write(&file, text).unwrap();
    let variables = [
        pair("WEIR__LIMITS__CONNECTIONS", "9"),
        pair("WEIR__SERVER__LISTEN", "127.0.0.1:2"),
        pair("WEIR__SERVER__ALLOW_PLAIN_HTTP", "true"),
        pair("WEIR_TOKEN", "not ours"),
        pair("HOST", "localhost"),
    ];
    let flags = [flag("--listen", "server.listen", "127.0.0.1:3")];
    let loaded = load(Some(&file), &variables, &flags).unwrap();
    let server = &loaded.server;
    assert_eq!((server.listen.as_str(), server.connections, server.uploads_at_once), ("127.0.0.1:3", 9, 2));
    assert_eq!((server.allow_plain_http, server.shutdown_timeout), (true, Duration::from_secs(5)));
    assert_eq!(server.data, Some(dir.path().join("data")), "a path is relative to its file");
    assert_eq!(server.secrets.env, ["A", "B_*"]);
    assert_eq!(server.files.folders, [Path::new("/srv")]);
    let at = |key: &str| loaded.shown().into_iter().find(|shown| shown.key == key).unwrap();
    let is = |key: &str, value: &str, origin: &str| {
        let shown = at(key);
        assert_eq!((shown.value.as_str(), shown.origin.as_str()), (value, origin), "{key}");
    };
    let line = |line: u32| format!("{}:{line}", file.display());
    is("server.listen", "\"127.0.0.1:3\"", "--listen");
    is("server.allow_plain_http", "true", "WEIR__SERVER__ALLOW_PLAIN_HTTP");
    is("limits.connections", "9", "WEIR__LIMITS__CONNECTIONS");
    is("limits.uploads_at_once", "2", &line(7));
    is("secrets.env", "[\"A\", \"B_*\"]", &line(9));
    is("compile.cpu", "\"60s\"", "default");
    is("limits.state_memory", "half of what there is", "default");
    let loaded = load(Some(&file), &variables[4..], &[]).unwrap();
    assert_eq!(loaded.server.listen, "localhost:1");
    let shown = loaded.shown().into_iter().find(|shown| shown.key == "server.listen").unwrap();
    assert_eq!(shown.value, "\"${env:HOST}:1\"", "a reference is shown as one");
}

#[test]
fn the_file_of_the_data_folder_is_read_where_no_other_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = flag("--data", "server.data", dir.path().to_str().unwrap());
    assert_eq!(load(None, &[], std::slice::from_ref(&data)).unwrap().file, None);
    let file = dir.path().join(FILE);
    fs::write(&file, "[limits]\nconnections = 8\n").unwrap();
    let loaded = load(None, &[], &[data]).unwrap();
    assert_eq!((loaded.file, loaded.server.connections), (Some(file), 8));
    assert_eq!(loaded.server.data.as_deref(), Some(dir.path()));
    assert!(refused(Some(&dir.path().join("gone.toml")), &[], &[]).contains("does not exist"));
}

#[test]
fn what_is_wrong_is_shown_where_it_stands_in_each_layer() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("weir.toml");
    fs::write(&file, "[server]\nlissten = \"127.0.0.1:1\"\n[limits]\nconnections = 0\n[secrets]\nenv = [\"*\"]\n")
        .unwrap();
    let variables = [
        pair("WEIR__LIMITS__CONECTIONS", "9"),
        pair("WEIR__SERVER__SHUTDOWN_TIMEOUT", "soon"),
        pair("WEIR__SEVER__DATA", "x"),
    ];
    let flags = [flag("--tls-cert", "server.tls_cert", "cert.pem")];
    let said = refused(Some(&file), &variables, &flags).replace(&file.display().to_string(), "weir.toml");
    insta::assert_snapshot!(said);
}

#[test]
fn the_defaults_of_the_reference_are_those_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("weir.toml");
    fs::write(&file, defaults()).unwrap();
    assert_eq!(load(Some(&file), &[], &[]).unwrap().server, Server::default());
}

#[test]
fn the_reader_the_reference_and_the_documentation_know_the_same_keys() {
    seen::clear();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("weir.toml");
    fs::write(&file, "[server]\n[limits]\n[compile]\n[secrets]\n[files]\n").unwrap();
    load(Some(&file), &[], &[]).unwrap();
    let mut read: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    seen::all().into_iter().for_each(|(path, known)| read.entry(path).or_default().extend(known));
    let mut written: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let docs = include_str!("../../../../docs/operate.md");
    let (_, section) = docs.split_once("\n### weir.toml\n").expect("docs/operate.md has a section on weir.toml");
    let section = section.split("\n### ").next().unwrap_or_default();
    for Key { table, key, default, .. } in server_keys() {
        written.entry(table.to_owned()).or_default().insert(key);
        if table.is_empty() {
            continue;
        }
        let row = section.lines().find(|line| line.starts_with(&format!("| `{table}.{key}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/operate.md has no row of {table}.{key}"));
        assert!(default.is_empty() || row.contains(default), "{row} does not give {default}");
    }
    assert_eq!(read, written, "left: the reader; right: reference.txt");
}
