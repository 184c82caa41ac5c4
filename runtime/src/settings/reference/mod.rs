//! Every key of the pipeline file with its type, default and effect, in `reference.txt`: what `weir schema pipeline` is made
//! of, and what `docs/pipeline.md` is compared with. The reader (`read`) decides what is taken; a test compares the two, so
//! that no key can be read that does not stand there. Those of `weir.toml` stand beside it, in `server`.

const TEXT: &str = include_str!("reference.txt");
const SERVER: &str = include_str!("../server/reference.txt");

/// A key of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// The table that it stands in, a name that the user chose as `*`; empty for the file itself.
    pub(super) table: &'static str,
    /// The key.
    pub(super) key: &'static str,
    /// For which `type` or `strategy` of the table, with spaces between; empty for all.
    pub(super) of: &'static str,
    /// What it takes.
    pub(super) kind: &'static str,
    /// Where it is not written: JSON, `required`, other words, or nothing.
    pub(super) default: &'static str,
    /// What it does.
    pub(super) effect: &'static str,
}

/// All keys, in the order of the reference.
pub(super) fn keys() -> Vec<Key> {
    parse(TEXT)
}

/// All keys of `weir.toml`.
pub(super) fn server_keys() -> Vec<Key> {
    parse(SERVER)
}

fn parse(text: &'static str) -> Vec<Key> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(key).collect()
}

fn key(line: &'static str) -> Option<Key> {
    let mut cells = line.splitn(6, '|').map(str::trim);
    let mut next = || cells.next();
    let (table, key, of, kind, default, effect) = (next()?, next()?, next()?, next()?, next()?, next()?);
    Some(Key { table, key, of, kind, default, effect })
}

#[cfg(test)]
mod tests;
