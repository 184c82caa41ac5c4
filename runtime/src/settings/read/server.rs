//! `weir.toml`, from a tree to plain values: what it says replaces what was there.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::super::diagnostics::Problem;
use super::super::secrets::{Secrets, is_pattern};
use super::super::server::Server;
use super::super::source::Environment;
use super::super::tree::Tree;
use super::field::Field;
use super::table::Table;
use super::{Reader, kafka};

const MIB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

/// Reads what a layer says into `server`.
pub(in crate::settings) fn server(
    tree: &Tree,
    text: &str,
    environment: &Environment<'_>,
    problems: &mut Vec<Problem>,
    server: &mut Server,
) {
    let common = kafka::Common::default();
    let reader = &mut Reader { environment, problems, text, record_bytes_max: 0, kafka: common };
    let Some(mut root) = Table::root(tree, reader) else { return };
    section(&mut root, reader, "server", server, |table, reader, server| {
        table.set(reader, "data", path, &mut server.data);
        table.set(reader, "listen", address, &mut server.listen);
        table.set(reader, "tls_cert", path, &mut server.tls_cert);
        table.set(reader, "tls_key", path, &mut server.tls_key);
        table.set(reader, "allow_plain_http", Field::boolean, &mut server.allow_plain_http);
        table.set(reader, "shutdown_timeout", whole_seconds, &mut server.shutdown_timeout);
    });
    section(&mut root, reader, "limits", server, |table, reader, server| {
        table.set(reader, "connections", |f, r| count(f, r, 1..=10_000), &mut server.connections);
        table.set(reader, "uploads_at_once", |f, r| count(f, r, 1..=64), &mut server.uploads_at_once);
        table.set(reader, "state_memory", |f, r| f.size(r, 1..=u64::MAX).map(Some), &mut server.state_memory);
        table.set(reader, "instances", |f, r| count(f, r, 16..=8192), &mut server.instances);
        table.set(reader, "registry_bytes", |f, r| f.size(r, MIB..=1 << 50), &mut server.registry_bytes);
    });
    section(&mut root, reader, "compile", server, |table, reader, server| {
        table.set(reader, "cpu", whole_seconds, &mut server.compile_cpu);
        table.set(reader, "wall", whole_seconds, &mut server.compile_wall);
        table.set(reader, "memory", |f, r| f.size(r, 128 * MIB..=1 << 40), &mut server.compile_memory);
    });
    section(&mut root, reader, "secrets", server, |table, reader, server| {
        let Secrets { env, files } = &mut server.secrets;
        table.set(reader, "env", patterns, env);
        table.set(reader, "files", path, files);
    });
    section(&mut root, reader, "files", server, |table, reader, server| {
        table.set(reader, "folders", folders, &mut server.files.folders);
    });
    root.finish(reader);
}

fn section(
    root: &mut Table<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    server: &mut Server,
    read: fn(&mut Table<'_>, &mut Reader<'_>, &mut Server),
) {
    if let Some(mut table) = root.field(key).and_then(|field| field.table(reader)) {
        read(&mut table, reader, server);
        table.finish(reader);
    }
}

fn path(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Option<PathBuf>> {
    field.path_value(reader).map(|path| Some(path.resolved))
}

fn address(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let text = field.string(reader)?;
    let is_address = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !is_address {
        let message = format!("\"{}\" is not an address", field.shown());
        field.report_invalid(reader, message, "write HOST:PORT, as in \"127.0.0.1:7171\"; port 0 takes a free one");
    }
    is_address.then_some(text)
}

fn count(field: &Field<'_>, reader: &mut Reader<'_>, range: RangeInclusive<i64>) -> Option<u32> {
    field.integer(reader, range).and_then(|count| u32::try_from(count).ok())
}

fn whole_seconds(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Duration> {
    let time = field.duration(reader)?;
    let is_fit = time.subsec_nanos() == 0 && (Duration::from_secs(1)..=HOUR).contains(&time);
    if !is_fit {
        field.report_invalid(
            reader,
            format!("`{}` of {} is out of bounds", field.key(), field.shown()),
            "1s to 1h, in whole seconds",
        );
    }
    is_fit.then_some(time)
}

fn folders(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<PathBuf>> {
    let Some(items) = field.items() else {
        field.report_shape(reader, "a list", "write folders = [\"/srv/streams\"]");
        return None;
    };
    items.iter().map(|item| item.path_value(reader).map(|path| path.resolved)).collect()
}

fn patterns(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let Some(items) = field.items() else {
        field.report_shape(reader, "a list", "write env = [\"KAFKA_PASSWORD\", \"TEAM_*\"]");
        return None;
    };
    let mut all = Vec::new();
    for item in items {
        let text = item.string(reader)?;
        if !is_pattern(&text) {
            let message = format!("\"{}\" is not a name of variables", item.shown());
            item.report_invalid(reader, message, "letters, digits and _, and at the end a * for any rest: \"TEAM_*\"");
            return None;
        }
        all.push(text);
    }
    Some(all)
}
