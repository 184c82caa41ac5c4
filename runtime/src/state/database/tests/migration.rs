//! Values of an older schema version, rewritten at a restore.

use weir_core::key_group::KeyGroup;
use weir_core::record::Column;

use super::*;

/// Puts a 2 before every value, removes those that are empty, and refuses more than it was promised. Counts its calls.
struct Rewrite {
    states: Vec<(u16, bool)>,
    calls: usize,
    refuses: &'static [u8],
}

impl Rewrite {
    fn of(states: &[(u16, bool)]) -> Rewrite {
        Rewrite { states: states.to_vec(), calls: 0, refuses: b"never" }
    }
}

impl Migrate for Rewrite {
    fn states(&self) -> Vec<(u16, bool)> {
        self.states.clone()
    }

    fn migrate(&mut self, state: u16, group: KeyGroup, values: &Column) -> Result<Column, String> {
        self.calls += 1;
        assert!(self.states.iter().any(|(known, _)| *known == state) && group.0 < 128);
        assert!(values.len() <= 1_000 && (values.data.len() <= 1 << 20 || values.len() == 1), "{}", values.data.len());
        if values.iter().any(|value| value == Some(self.refuses)) {
            return Err("it is refused".to_owned());
        }
        let mut migrated = Column::default();
        values.iter().for_each(|value| migrated.push(rewritten(value).as_deref()));
        Ok(migrated)
    }
}

fn rewritten(value: Option<&[u8]>) -> Option<Vec<u8>> {
    value.filter(|value| !value.is_empty()).map(|value| [&[2], value].concat())
}

impl Pipeline {
    /// The next attempt, whose operators declare newer versions.
    fn restart_migrating(&mut self, files: &StateFiles, by: &mut Rewrite) -> Result<(), Error> {
        self.migrate(files, by)?;
        for (key, value) in std::mem::take(&mut self.expected) {
            let (_, id, _) = crate::state::key::split(&key).unwrap();
            let is_migrated = by.states.iter().any(|(known, _)| *known == id);
            let value = if is_migrated { rewritten(Some(&value)) } else { Some(value) };
            self.expected.extend(value.map(|value| (key, value)));
        }
        assert_eq!(entries(&self.nodes), self.expected);
        assert!(self.nodes.iter_mut().all(|n| seal(n).is_empty()), "what is migrated is in the chain, not dirty");
        Ok(())
    }

    fn migrate(&mut self, files: &StateFiles, by: &mut Rewrite) -> Result<(), Error> {
        self.token = Token(self.token.0 + 1);
        let verified = verify(&*self.storage, files).unwrap();
        self.nodes = [node(1), node(11)];
        self.database = None;
        let [a, b] = &mut self.nodes;
        let into = Restoring { nodes: &mut [a, b], stray: &|id| Err(id.to_string()), migrate: Some(by) };
        let (storage, live) = (Arc::clone(&self.storage), self.dir.path().join("live"));
        self.database =
            Some(Database::restore(storage, &live, self.token, Arc::default(), (Epoch(1), &verified), into)?);
        Ok(())
    }
}

/// Keys 0 to 199, some of whose values are empty.
fn writes(value: u8) -> Vec<(u8, Option<Vec<u8>>)> {
    (0..200).map(|key| (key, Some(vec![value; usize::from(key % 5)]))).collect()
}

#[test]
fn every_value_is_rewritten_once_and_the_next_snapshot_has_no_old_one() {
    check(|mut pipeline| {
        pipeline.epoch(&writes(1));
        let before = pipeline.epoch(&[(0, None), (7, Some(vec![9]))]);
        let old = pipeline.expected.clone();
        // A value state of the first node, a map of the second: the others stay.
        let mut by = Rewrite::of(&[(12, true), (1, false)]);
        pipeline.restart_migrating(&before, &mut by).unwrap();
        assert!(by.calls > 100, "{} calls", by.calls);
        let new = pipeline.expected.clone();
        assert_ne!(old, new);

        // Nothing was committed since: the snapshot of before is as it was, and the next attempt does it again.
        pipeline.expected = old;
        pipeline.restart(&before);
        pipeline.restart_migrating(&before, &mut by).unwrap();
        assert_eq!(pipeline.expected, new);

        // An epoch that changes nothing names it all, and so does each one behind it, also behind a new base.
        let first = pipeline.epoch(&[]);
        pipeline.restart(&first);
        assert_eq!(pipeline.expected, new);
        let mut files = first;
        let mut folded = false;
        for epoch in 0..20 {
            files = pipeline.epoch(&[(epoch, Some(vec![epoch]))]);
            folded |= pipeline.database().settle().unwrap();
        }
        assert!(folded);
        pipeline.restart(&files);
    });
}

#[test]
fn batches_are_bounded_in_values_and_in_bytes() {
    let mut pipeline = Pipeline::start();
    let key = b"one key, and so one key group";
    let node = &mut pipeline.nodes[0];
    node.begin_call(&[hash(key)], &[Some(&key[..])].into_iter().collect());
    for field in 0..2_500u32 {
        node.map_put(1, 0, &field.to_be_bytes(), Some(&field.to_be_bytes()));
    }
    for field in 0..5u8 {
        node.map_put(1, 0, &[255, field], Some(&vec![field; 400 << 10]));
    }
    node.map_put(1, 0, &[255, 255], Some(&vec![7; 3 << 20]));
    node.commit_call();
    let sealed = seal(node);
    let files = pipeline.database().write(Epoch(1), vec![sealed]).unwrap();
    let mut by = Rewrite::of(&[(2, true)]);
    pipeline.migrate(&files, &mut by).unwrap();
    assert_eq!(pipeline.nodes[0].entries(), 2_506);
    // 1,000 twice, 500 with the first two large ones, two, one, and that of three MiB.
    assert_eq!(by.calls, 6);
}

#[test]
fn value_that_cannot_be_rewritten_is_named_by_its_key_and_nothing_is_left() {
    check(|mut pipeline| {
        pipeline.epoch(&writes(1));
        let files = pipeline.epoch(&[(77, Some(b"bad".to_vec()))]);
        let before = stored(&pipeline);
        for (states, says) in [
            (vec![(1, false)], "it is refused, key \"kM\""),
            (vec![(12, true), (11, false)], "it is refused, key \"kM\""),
            (vec![(2, true)], "it is refused, key \"kM\", field \"f\""),
        ] {
            let mut by = Rewrite { refuses: b"bad", ..Rewrite::of(&states) };
            let refused = pipeline.restart_migrating(&files, &mut by).unwrap_err();
            assert!(refused.to_string().starts_with(says), "{refused}");
            assert_eq!(stored(&pipeline), before);
        }
        pipeline.restart(&files);
    });
}

#[test]
fn nothing_is_written_where_no_state_has_a_value() {
    let mut pipeline = Pipeline::start();
    let files = pipeline.epoch(&writes(1));
    let mut by = Rewrite::of(&[(40, false)]);
    pipeline.restart_migrating(&files, &mut by).unwrap();
    assert_eq!((by.calls, pipeline.epoch(&[])), (0, files));
}
