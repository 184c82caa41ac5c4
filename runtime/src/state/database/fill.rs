//! From the open database into working sets, at a restore: two threads read and hash, the one that asked fills memory. Owns
//! the order, key group by key group, and where it ends: once the working sets have filled their budget, the groups that
//! nobody has begun stay in the database, but for what has timers.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use rocksdb::DB;
use weir_core::key_group::{KEY_GROUPS, KeyGroup};

use super::Restoring;
use crate::state::load::{Stored, hash_of};
use crate::state::{Error, KeyedState, key, live};

/// More would wait for the one that fills. Each may have begun a group when the budget is full.
const READERS: usize = 2;
/// Entries are handed over in pieces of about so many bytes, of which so many may wait.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;
/// How far ahead of its turn an entry's place in memory is asked for.
const AHEAD: usize = 16;

/// Entries of the database, with the hashes of the keys that they belong to.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

struct Item {
    hash: u64,
    /// Where its key begins in the piece's bytes, and how long key and value are.
    at: u32,
    key: u32,
    value: u32,
}

impl Piece {
    fn get(&self, item: &Item) -> (&[u8], &[u8]) {
        let (_, bytes) = self.bytes.split_at(item.at as usize);
        let (key, rest) = bytes.split_at(item.key as usize);
        (key, &rest[..item.value as usize])
    }
}

/// See the module.
pub(super) fn fill(db: &DB, Restoring { nodes, stray, .. }: Restoring<'_, '_>) -> Result<(), Error> {
    let kinds: Vec<(u16, Stored)> = nodes.iter().flat_map(|node| node.stored()).collect();
    let kind = |id| kinds.iter().find(|(known, _)| *known == id).map(|(_, kind)| *kind);
    let (next, is_filled) = (AtomicU16::new(0), AtomicBool::new(false));
    let (pieces, inbox) = sync_channel(PIECES);
    thread::scope(|scope| -> Result<(), Error> {
        for _ in 0..READERS {
            let (pieces, next, is_filled, kind) = (pieces.clone(), &next, &is_filled, &kind);
            let reader = thread::Builder::new().name("restore".to_owned());
            let started = reader.spawn_scoped(scope, move || {
                while !is_filled.load(Ordering::Relaxed)
                    && let group @ 0..KEY_GROUPS = next.fetch_add(1, Ordering::Relaxed)
                {
                    if let Err(failed) = read(db, KeyGroup(group), kind, &pieces) {
                        // Nobody takes it: the one that fills has failed itself.
                        let _ = pieces.send(Err(failed));
                        return;
                    }
                }
            });
            started.map_err(|e| Error::fatal("starting a thread over", db.path(), e))?;
        }
        drop(pieces);
        // Order: it ends when both readers have. An error drops the inbox, and they end at their next piece.
        for piece in inbox {
            take(&piece?, nodes, stray)?;
            if nodes.iter_mut().any(|node| node.is_filled()) {
                is_filled.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    })?;
    for group in (next.into_inner().min(KEY_GROUPS)..KEY_GROUPS).map(KeyGroup) {
        for node in nodes.iter_mut().filter(|node| node.owns(group, node.timers_id())) {
            node.leave_out(group)?;
            node.load_timers(db, group)?;
        }
    }
    Ok(())
}

/// Reads a key group and hands it over; what waits at its end is handed over too.
fn read(
    db: &DB,
    group: KeyGroup,
    kind: &(dyn Fn(u16) -> Option<Stored> + Sync),
    pieces: &SyncSender<Result<Piece, Error>>,
) -> Result<(), Error> {
    let mut piece = Piece::default();
    // Entries come sorted by state: mostly it is that of the entry before.
    let mut last = None;
    live::scan(db, live::in_bulk(), &group.0.to_be_bytes(), |key, value| {
        let (_, id, _) = key::split(key)?;
        let kind = match last {
            Some((known, kind)) if known == id => kind,
            _ => last.insert((id, kind(id))).1,
        };
        let hash = kind.map_or(Ok(0), |kind| hash_of(kind, key))?;
        let at = piece.bytes.len() as u32;
        piece.bytes.extend_from_slice(key);
        piece.bytes.extend_from_slice(value);
        piece.items.push(Item { hash, at, key: key.len() as u32, value: value.len() as u32 });
        if piece.bytes.len() >= PIECE {
            let next = Piece { bytes: Vec::with_capacity(2 * PIECE), items: Vec::with_capacity(piece.items.len()) };
            let _ = pieces.send(Ok(std::mem::replace(&mut piece, next)));
        }
        Ok(())
    })?;
    let _ = pieces.send(Ok(piece));
    Ok(())
}

fn take(piece: &Piece, nodes: &mut [&mut KeyedState], stray: &dyn Fn(u16) -> Result<(), String>) -> Result<(), Error> {
    let mut at = 0;
    for (number, item) in piece.items.iter().enumerate() {
        let (bytes, value) = piece.get(item);
        let (group, id, _) = key::split(bytes)?;
        if !nodes.get(at).is_some_and(|node| node.owns(group, id)) {
            let Some(owner) = nodes.iter().position(|node| node.owns(group, id)) else {
                stray(id).map_err(|name| Error::UnknownState { name })?;
                continue;
            };
            at = owner;
        }
        if let Some(later) = piece.items.get(number + AHEAD) {
            nodes[at].prefetch_load(later.hash);
        }
        nodes[at].load_hashed(item.hash, bytes, value)?;
    }
    Ok(())
}
