//! The database over a real RocksDB in a temporary folder.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};
use weir_core::key_group::hash;

use super::*;
use crate::state::tests::seal;
use crate::state::{Kind, StateSpec, verify};
use crate::storage::{Local, Memory};

mod migration;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Runs a test over each store.
fn check(test: impl Fn(Pipeline)) {
    test(Pipeline::start());
    let dir = tempdir().unwrap();
    let memory = Memory::new(&dir.path().join("live")).unwrap();
    test(Pipeline::start_in(dir, Arc::new(memory)));
}

/// Restores into working sets without a budget.
fn restore(
    (storage, live): (&Arc<dyn Storage>, &Path),
    token: Token,
    snapshot: &VerifiedFiles,
    nodes: &mut [&mut KeyedState],
    stray: impl Fn(u16) -> Result<(), String>,
) -> Result<Database, Error> {
    Database::restore(
        Arc::clone(storage),
        live,
        token,
        Arc::default(),
        (Epoch(1), snapshot),
        Restoring { nodes, stray: &stray, migrate: None },
    )
}

fn node(first_id: u16) -> KeyedState {
    let spec = |name: &str, kind, id| StateSpec { name: name.into(), kind, version: 1, id };
    KeyedState::new(vec![spec("count", Kind::Value, first_id), spec("seen", Kind::Map, first_id + 1)], first_id + 2)
}

/// A pipeline with two nodes, its database, and the entries that it should have.
struct Pipeline {
    dir: TempDir,
    storage: Arc<dyn Storage>,
    token: Token,
    nodes: [KeyedState; 2],
    /// `None` only between two attempts: one process opens a live database once.
    database: Option<Database>,
    expected: Entries,
}

impl Pipeline {
    fn start() -> Pipeline {
        Pipeline::start_locally(tempdir().unwrap())
    }

    fn start_locally(dir: TempDir) -> Pipeline {
        let storage = Arc::new(Local::new(dir.path()));
        Pipeline::start_in(dir, storage)
    }

    fn start_in(dir: TempDir, storage: Arc<dyn Storage>) -> Pipeline {
        let live = dir.path().join("live");
        let database = Database::create(Arc::clone(&storage), &live, Token(1), Arc::default()).unwrap();
        Pipeline {
            dir,
            storage,
            token: Token(1),
            nodes: [node(1), node(11)],
            database: Some(database),
            expected: Entries::new(),
        }
    }

    fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    fn database(&mut self) -> &mut Database {
        self.database.as_mut().unwrap()
    }

    /// One epoch in which each node writes under each key.
    fn epoch(&mut self, writes: &[(u8, Option<Vec<u8>>)]) -> StateFiles {
        let sealed = self.seal(writes);
        let files = self.database().write(Epoch(1), sealed).unwrap();
        self.database().sync().unwrap();
        files
    }

    fn seal(&mut self, writes: &[(u8, Option<Vec<u8>>)]) -> Vec<SealedState> {
        for node in &mut self.nodes {
            for (key, value) in writes {
                let key = [b'k', *key];
                node.begin_call(&[hash(&key)], &[Some(&key[..])].into_iter().collect());
                node.value_put(0, 0, value.as_deref());
                node.map_put(1, 0, b"f", value.as_deref());
                match value {
                    Some(value) => node.timer_set(0, value.len() as i64, 0),
                    None => (0..20).for_each(|time| node.timer_unset(0, time, 0)),
                }
                node.commit_call();
            }
        }
        let sealed: Vec<SealedState> = self.nodes.iter_mut().map(seal).collect();
        for (key, value) in sealed.iter().flat_map(|s| (0..s.len()).map(|i| s.get(i))) {
            match value {
                Some(value) => self.expected.insert(key.to_vec(), value.to_vec()),
                None => self.expected.remove(key),
            };
        }
        sealed
    }

    /// The next attempt, from a snapshot.
    fn restart(&mut self, files: &StateFiles) {
        self.token = Token(self.token.0 + 1);
        let verified = verify(&*self.storage, files).unwrap();
        self.nodes = [node(1), node(11)];
        let [a, b] = &mut self.nodes;
        let at = (&self.storage, &*self.dir.path().join("live"));
        self.database = None;
        self.database = Some(restore(at, self.token, &verified, &mut [a, b], |id| Err(id.to_string())).unwrap());
        assert_eq!(entries(&self.nodes), self.expected);
        assert!(self.nodes.iter_mut().all(|n| seal(n).is_empty()), "what was restored is not dirty");
    }
}

/// Everything that the working sets hold, as it stands in the database.
fn entries(nodes: &[KeyedState]) -> Entries {
    let mut all = Entries::new();
    for node in nodes {
        // What is loaded cannot be told from what was stored, so a second working set is made dirty with all of it.
        let mut copy = node.copy_as_dirty();
        let sealed = seal(&mut copy);
        all.extend((0..sealed.len()).map(|i| (sealed.get(i).0.to_vec(), sealed.get(i).1.unwrap().to_vec())));
    }
    all
}

impl KeyedState {
    /// A working set of the same content that no seal has seen.
    fn copy_as_dirty(&self) -> KeyedState {
        let mut copy = KeyedState::new(self.specs().cloned().collect(), self.timers_id());
        for key in (0..=u8::MAX).map(|k| [b'k', k]) {
            let Some(entry) = self.entries.find(hash(&key), &key) else { continue };
            copy.begin_call(&[hash(&key)], &[Some(&key[..])].into_iter().collect());
            copy.value_put(0, 0, self.values.get(entry, 0));
            copy.map_put(1, 0, b"f", self.maps.get(entry, 0, b"f"));
            self.timers.each(entry, |time, tag| copy.timer_set(0, time, tag));
            copy.commit_call();
        }
        assert_eq!((copy.entries(), copy.timers_pending()), (self.entries(), self.timers_pending()));
        copy
    }
}

fn some(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

/// The names of all stored and temporary files.
fn stored(p: &Pipeline) -> Vec<String> {
    let files = p.storage.list("files").unwrap().into_iter().map(|entry| entry.name);
    let staged = list_dir(p.storage.staging()).unwrap().into_iter().filter(|name| name.contains("-tmp-"));
    files.chain(staged).collect()
}

#[test]
fn an_epoch_without_changes_writes_no_file() {
    check(|mut p| {
        assert_eq!(p.epoch(&[]), StateFiles::default());
        assert!(stored(&p).is_empty());
        let first = p.epoch(&[(1, some("a"))]);
        assert_eq!(p.epoch(&[]), first);
        assert_eq!(stored(&p), [first.deltas[0].stored.clone()]);
        p.restart(&first);
    });
}

#[test]
fn every_epoch_can_be_restored_across_many_new_bases() {
    check(|mut p| {
        let mut history = Vec::new();
        let mut bases = 0;
        for epoch in 0..60u8 {
            let files = p.epoch(&[
                (epoch % 7, some(&"v".repeat(usize::from(epoch)))),
                (epoch % 5 + 10, None),
                (epoch, some("x")),
            ]);
            assert!(files.deltas.len() <= DELTAS_MAX + 1);
            bases += usize::from(p.database().settle().unwrap());
            history.push((files, p.expected.clone()));
        }
        assert!(bases >= 3, "{bases}");
        assert!(history.last().unwrap().0.base.contains_key("CURRENT"));
        let temporary = stored(&p).into_iter().filter(|n| n.contains("tmp")).count();
        assert_eq!(temporary, 0, "no temporary name stays");
        for (files, expected) in history {
            p.expected = expected;
            p.restart(&files);
        }
    });
}

#[test]
fn a_restarted_pipeline_goes_on_from_base_and_deltas_under_its_own_token() {
    check(|mut p| {
        for round in 0..4u8 {
            let mut files = StateFiles::default();
            for epoch in 0..20 {
                files = p.epoch(&[(epoch, some(&format!("{round}-{epoch}"))), (epoch ^ 1, None)]);
                p.database().settle().unwrap();
            }
            let own = format!("{}-", p.token);
            assert!(files.deltas.iter().all(|f| f.stored.starts_with(&own)));
            p.restart(&files);
        }
    });
}

#[test]
fn what_a_failed_epoch_had_sealed_comes_with_the_next_one_and_the_newest_value_counts() {
    let mut p = Pipeline::start();
    let declined = p.seal(&[(1, some("old")), (2, some("kept"))]);
    let (files, away) = (p.files(), p.dir.path().join("away"));
    fs::rename(&files, &away).unwrap();
    assert!(p.database().write(Epoch(1), declined).is_err());
    fs::rename(&away, &files).unwrap();
    let files = p.epoch(&[(1, some("new")), (3, None)]);
    assert_eq!(files.deltas.len(), 1);
    p.restart(&files);
}

#[test]
fn a_file_with_a_changed_byte_or_length_or_none_at_all_is_refused_by_name() {
    let mut p = Pipeline::start();
    let mut files = StateFiles::default();
    for epoch in 0..20 {
        files = p.epoch(&[(epoch, some("v"))]);
        p.database().settle().unwrap();
    }
    assert!(!files.base.is_empty() && !files.deltas.is_empty());
    for file in files.base.values().chain(&files.deltas) {
        let path = p.files().join(&file.stored);
        let good = fs::read(&path).unwrap();
        let refused = |expected: &str| {
            let error = verify(&*p.storage, &files).unwrap_err().to_string();
            assert!(error.contains(&file.stored) && error.contains(expected), "{error}");
        };
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        // A new file: the stored one may be a link that the live database has too.
        fs::remove_file(&path).unwrap();
        refused("is missing");
        fs::write(&path, &bad).unwrap();
        refused("is damaged: its sha256 is");
        fs::write(&path, &good[1..]).unwrap();
        refused(&format!("it has {} bytes, {} were written", good.len() - 1, good.len()));
        fs::write(&path, &good).unwrap();
    }
    verify(&*p.storage, &files).unwrap();
}

#[test]
fn a_manifest_cannot_lead_out_of_the_folder() {
    let mut p = Pipeline::start();
    let good = p.epoch(&[(1, some("v"))]);
    let mut bad = good.clone();
    bad.deltas[0].stored = format!("../{}", bad.deltas[0].stored);
    assert!(verify(&*p.storage, &bad).is_err());
    let mut bad = good.clone();
    bad.base.insert("../../x".into(), good.deltas[0].clone());
    assert!(verify(&*p.storage, &bad).is_err());
}

#[test]
fn a_state_that_nobody_declares_any_more_is_refused_by_name() {
    let mut p = Pipeline::start();
    let files = p.epoch(&[(1, some("v"))]);
    let verified = verify(&*p.storage, &files).unwrap();
    let live = p.dir.path().join("live");
    let name = |id| Err(format!("state \"count\" of node \"b\"{}", if id == 11 { "" } else { "?" }));
    let restored = restore((&p.storage, &live), Token(2), &verified, &mut [&mut node(1)], name);
    let error = restored.unwrap_err().to_string();
    assert!(error.contains("state \"count\" of node \"b\", which the pipeline does not declare"), "{error}");
    // Unless it may be left out.
    let mut declared = node(1);
    restore((&p.storage, &live), Token(2), &verified, &mut [&mut declared], |_| Ok(())).unwrap();
    assert!(declared.entries() > 0);
}

#[test]
fn the_live_folder_is_thrown_away_at_every_start() {
    let mut p = Pipeline::start();
    let files = p.epoch(&[(1, some("v"))]);
    fs::create_dir_all(p.dir.path().join("live/db")).unwrap();
    fs::write(p.dir.path().join("live/db/CURRENT"), "rubbish").unwrap();
    p.restart(&files);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn a_restore_after_any_sequence_equals_what_was_written(
        epochs in prop::collection::vec(
            (prop::collection::vec((0u8..6, prop::option::of(prop::collection::vec(any::<u8>(), 0..20))), 0..5), 0u8..10),
            1..40,
        ),
    ) {
        let mut p = Pipeline::start();
        let mut files = StateFiles::default();
        for (writes, what) in epochs {
            files = p.epoch(&writes);
            p.database().settle().unwrap();
            if what == 0 {
                p.restart(&files);
            }
        }
        p.restart(&files);
    }
}

/// Runs `f` in a thread that alone sees a disk of that size at `dir`. Answers false where that is not permitted.
fn on_a_small_disk(dir: &Path, bytes: usize, f: impl FnOnce() + Send) -> bool {
    let target = std::ffi::CString::new(dir.to_str().unwrap()).unwrap();
    let size = std::ffi::CString::new(format!("size={bytes}")).unwrap();
    let mount = move || {
        // SAFETY: all strings end with a zero and outlive the calls; the namespace is this thread's own.
        unsafe {
            libc::unshare(libc::CLONE_NEWNS | libc::CLONE_FS) == 0
                && libc::mount(
                    c"none".as_ptr(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ) == 0
                && libc::mount(c"none".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, size.as_ptr().cast()) == 0
        }
    };
    std::thread::scope(|scope| {
        scope
            .spawn(move || {
                mount() && {
                    f();
                    true
                }
            })
            .join()
            .unwrap()
    })
}

#[test]
fn a_full_disk_declines_the_epoch_and_the_next_one_covers_it() {
    // In a process of its own: the disk is mounted for one thread and those that it starts, and RocksDB's threads, which
    // serve all databases of a process, may have been started by another test.
    const ALONE: &str = "WEIR_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "state::database::tests::a_full_disk_declines_the_epoch_and_the_next_one_covers_it";
        let test = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stderr));
        return;
    }
    let disk = tempdir().unwrap();
    let ran = on_a_small_disk(disk.path(), 16 << 20, || {
        let mut p = Pipeline::start_locally(TempDir::new_in(disk.path()).unwrap());
        p.epoch(&[(1, some("first"))]);
        let ballast = disk.path().join("ballast");
        // What is left is less than the epoch needs.
        let mut noise = 1u64;
        let mut bytes = |n: usize| {
            let next = |_| {
                noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (noise >> 56) as u8
            };
            (0..n).map(next).collect::<Vec<u8>>()
        };
        fs::write(&ballast, bytes(15 << 20)).unwrap();
        let declined = p.seal(&[(1, Some(bytes(1 << 20))), (2, Some(bytes(10)))]);
        let error = p.database().write(Epoch(1), declined).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
        assert_eq!(stored(&p).len(), 1, "nothing temporary stays");
        fs::remove_file(&ballast).unwrap();
        let files = p.epoch(&[(3, some("next"))]);
        assert_eq!(files.deltas.len(), 2);
        p.restart(&files);

        // And when there is no room for a new base, the deltas go on.
        for epoch in 0..DELTAS_MAX as u8 {
            p.epoch(&[(epoch, some("v"))]);
        }
        let mut filler = fs::File::create(&ballast).unwrap();
        while io::Write::write_all(&mut filler, &[0; 1024]).is_ok() {}
        drop(filler);
        let error = p.database().settle().unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
        fs::remove_file(&ballast).unwrap();
        let files = p.epoch(&[(5, some("w"))]);
        assert!(p.database().settle().unwrap());
        p.restart(&files);
    });
    if !ran {
        eprintln!("not permitted to mount: not tested");
    }
}
