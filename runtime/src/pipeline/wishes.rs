//! What users ask of a running pipeline, and who waits for the answer: checkpoints, savepoints, a stop, a cancel. Kept
//! outside of the attempts: a stop outlasts the attempt that saw it first. Decides nothing about when; the protocol does.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use weir_core::checkpoint::manifest::{CommitKind, SnapshotRef};
use weir_core::domain::Fact;
use weir_core::ids::Epoch;

use super::removal::Removal;
use super::savepoint;
use super::snapshot_store::SnapshotStore;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A checkpoint, now.
    Checkpoint,
    /// A checkpoint whose files are copied into a folder of its own below `to`.
    Savepoint {
        /// Default: `savepoints/` in the state folder.
        to: Option<PathBuf>,
    },
    /// A savepoint behind which nothing is committed, and the end.
    StopWithSavepoint {
        /// As above.
        to: Option<PathBuf>,
    },
}

impl Wish {
    /// Whether there is a place for what it asks for. Nothing was done for it yet, and the pipeline goes on if there is none.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Wish::Savepoint { to: Some(to) } | Wish::StopWithSavepoint { to: Some(to) } => {
                savepoint::check_target(to).map_err(|why| format!("no savepoint, and the pipeline goes on: {why}"))
            }
            Wish::Checkpoint | Wish::Savepoint { to: None } | Wish::StopWithSavepoint { to: None } => Ok(()),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What was committed.
    pub snapshot: SnapshotRef,
    /// Why.
    pub kind: CommitKind,
    /// Where the savepoint lies.
    pub path: Option<PathBuf>,
}

/// What came of a wish, or why nothing did.
pub type Answer = Result<Done, String>;

/// Something to do on the snapshot thread, behind what made the checkpoint committed there and before what retires it.
pub(super) type Afterwards = Box<dyn FnOnce(&SnapshotStore) + Send>;

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    stop: bool,
    drain: bool,
    cancel: bool,
    /// The cancel deletes nothing, whatever the text says of one.
    is_given_up: bool,
    /// This attempt's domain was told to stop.
    is_stop_told: bool,
    waiting: Vec<Asked>,
    removals: Vec<Removal>,
    /// Savepoints that are being copied.
    copies: Vec<JoinHandle<()>>,
    ends: Vec<SyncSender<()>>,
    has_ended: bool,
}

#[derive(Debug)]
struct Asked {
    wish: Wish,
    stage: Stage,
    answer: SyncSender<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    /// This attempt's domain knows of it.
    Told,
    /// Its barrier is under way.
    Triggered(Epoch),
}

impl Wishes {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The receiver hears once.
    pub(super) fn ask(&self, wish: Wish) -> Receiver<Answer> {
        let (answer, receiver) = sync_channel(1);
        let mut inner = self.lock();
        if inner.has_ended {
            let _ = answer.try_send(Err("the pipeline does not run any more".to_owned()));
        } else {
            inner.waiting.push(Asked { wish, stage: Stage::New, answer });
        }
        receiver
    }

    /// Wants a checkpoint gone. Whoever asks hears once.
    pub(super) fn remove(&self, removal: Removal) {
        let mut inner = self.lock();
        match inner.has_ended {
            true => removal.has_ended("it does not run any more"),
            false => inner.removals.push(removal),
        }
    }

    pub(super) fn take_removals(&self) -> Vec<Removal> {
        std::mem::take(&mut self.lock().removals)
    }

    pub(super) fn stop(&self, drain: bool) {
        let mut inner = self.lock();
        inner.stop = true;
        inner.drain |= drain;
    }

    pub(super) fn drain(&self) {
        self.lock().drain = true;
    }

    pub(super) fn cancel(&self) {
        self.lock().cancel = true;
    }

    /// A cancel that is none of a user's.
    pub(super) fn give_up(&self) {
        let mut inner = self.lock();
        (inner.cancel, inner.is_given_up) = (true, true);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.lock().is_given_up
    }

    /// Hears when the pipeline has ended and given its state folder back.
    pub(super) fn ended(&self) -> Receiver<()> {
        let (sender, receiver) = sync_channel(1);
        let mut inner = self.lock();
        // Once it has ended the sender is dropped, which is heard too.
        if !inner.has_ended {
            inner.ends.push(sender);
        }
        receiver
    }

    /// Whether the pipeline shall not be started again.
    pub(super) fn is_stop_or_cancel(&self) -> bool {
        let inner = self.lock();
        inner.stop || inner.cancel
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.lock().cancel
    }

    /// The cancel is carried out: what follows is the deletion.
    pub(super) fn take_cancel(&self) -> bool {
        let mut inner = self.lock();
        let cancel = std::mem::take(&mut inner.cancel);
        inner.stop &= !cancel;
        cancel
    }

    pub(super) fn is_draining(&self) -> bool {
        self.lock().drain
    }

    /// What the domain is to be told next. It takes wishes for checkpoints only once it `runs`. A stop is told once an
    /// attempt.
    pub(super) fn next(&self, runs: bool) -> Option<Fact> {
        let mut inner = self.lock();
        if inner.stop && !inner.is_stop_told {
            inner.is_stop_told = true;
            return Some(Fact::Stop);
        }
        let asked = inner.waiting.iter_mut().find(|asked| runs && asked.stage == Stage::New)?;
        asked.stage = Stage::Told;
        Some(match asked.wish {
            Wish::Checkpoint => Fact::Requested { savepoint: false },
            Wish::Savepoint { .. } => Fact::Requested { savepoint: true },
            Wish::StopWithSavepoint { .. } => Fact::StopWithSavepoint,
        })
    }

    /// A barrier goes out: it answers what the domain had been told. A savepoint is a checkpoint too.
    pub(super) fn on_trigger(&self, epoch: Epoch, kind: CommitKind) {
        for asked in &mut self.lock().waiting {
            if asked.stage == Stage::Told && (asked.wish == Wish::Checkpoint || kind == CommitKind::Savepoint) {
                asked.stage = Stage::Triggered(epoch);
            }
        }
    }

    /// The epoch is given up. A stop with a savepoint waits on: the protocol tries again.
    pub(super) fn on_declined(&self, epoch: Epoch, why: &str) {
        let mut inner = self.lock();
        for asked in &mut inner.waiting {
            if asked.stage == Stage::Triggered(epoch) && matches!(asked.wish, Wish::StopWithSavepoint { .. }) {
                asked.stage = Stage::Told;
            }
        }
        for asked in inner.waiting.extract_if(.., |asked| asked.stage == Stage::Triggered(epoch)) {
            let _ = asked.answer.try_send(Err(format!("checkpoint {epoch} was declined: {why}")));
        }
    }

    /// The epoch is committed. What is to be done for those who waited for it.
    pub(super) fn on_committed(&self, snapshot: &SnapshotRef, kind: CommitKind) -> Afterwards {
        let committed = |asked: &mut Asked| asked.stage == Stage::Triggered(snapshot.epoch);
        let asked: Vec<Asked> = self.lock().waiting.extract_if(.., committed).collect();
        let (snapshot, wishes) = (snapshot.clone(), self.clone());
        Box::new(move |store| {
            for Asked { wish, answer, .. } in asked {
                match wish {
                    Wish::Checkpoint => {
                        let _ = answer.try_send(Ok(Done { snapshot: snapshot.clone(), kind, path: None }));
                    }
                    Wish::Savepoint { to } => wishes.copy(savepoint::Source::pin(store, &snapshot, to), None, answer),
                    Wish::StopWithSavepoint { to } => {
                        let stopped_at = store.place_of(&snapshot);
                        wishes.copy(savepoint::Source::pin(store, &snapshot, to), Some(stopped_at), answer);
                    }
                }
            }
        })
    }

    /// Copies beside the snapshot thread: the next checkpoint does not wait for it. Where there is none, `stopped_at` is the
    /// checkpoint at which the pipeline stops.
    fn copy(&self, pinned: Result<savepoint::Source, String>, stopped_at: Option<PathBuf>, answer: SyncSender<Answer>) {
        let span = tracing::Span::current();
        let copy = move || {
            let _in = span.entered();
            let done = pinned.and_then(|source| {
                let path = source.copy()?;
                Ok(Done { snapshot: source.snapshot().clone(), kind: CommitKind::Savepoint, path: Some(path) })
            });
            let done = done.map_err(|why| match stopped_at {
                Some(checkpoint) => format!(
                    "{why}; the pipeline has stopped at it all the same: the next start goes on from there, and so does --from {}",
                    checkpoint.display()
                ),
                None => why,
            });
            match &done {
                Ok(Done { path: Some(path), .. }) => tracing::info!("savepoint in {}", path.display()),
                Ok(_) => {}
                Err(why) => tracing::error!("{why}"),
            }
            let _ = answer.try_send(done);
        };
        match std::thread::Builder::new().name("savepoint".to_owned()).spawn(copy) {
            Ok(thread) => self.lock().copies.push(thread),
            // The sender went with the closure: whoever waits hears that.
            Err(e) => tracing::error!("cannot start a thread for a savepoint: {e}"),
        }
    }

    /// The attempt is over: what it did not commit does not come any more.
    pub(super) fn on_attempt_over(&self, why: &str) {
        let mut inner = self.lock();
        inner.is_stop_told = false;
        for asked in inner.waiting.extract_if(.., |asked| asked.stage != Stage::New) {
            let _ = asked.answer.try_send(Err(format!("nothing was committed for it: {why}")));
        }
        inner.drain &= inner.stop;
    }

    /// Waits for what is still being copied.
    pub(super) fn finish_copies(&self) {
        let copies = std::mem::take(&mut self.lock().copies);
        for copy in copies {
            // One that panicked is over too.
            let _ = copy.join();
        }
    }

    /// The pipeline has ended, and its folder is free.
    pub(super) fn close(&self, why: &str) {
        let mut inner = self.lock();
        inner.has_ended = true;
        for asked in inner.waiting.drain(..) {
            let _ = asked.answer.try_send(Err(format!("the pipeline has ended: {why}")));
        }
        inner.removals.drain(..).for_each(|removal| removal.has_ended(why));
        inner.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use weir_core::ids::Token;

    use super::*;

    fn snapshot(epoch: u64) -> SnapshotRef {
        SnapshotRef { epoch: Epoch(epoch), token: Token(1), sha256: String::new() }
    }

    fn store() -> (tempfile::TempDir, SnapshotStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SnapshotStore::local(folder.path());
        (folder, store)
    }

    #[test]
    fn checkpoint_is_answered_by_the_first_barrier_behind_the_wish() {
        let (_folder, store) = store();
        let wishes = Wishes::default();
        // A barrier that was under way before says nothing about what came since.
        let answer = wishes.ask(Wish::Checkpoint);
        wishes.on_trigger(Epoch(1), CommitKind::Checkpoint);
        assert_eq!(wishes.next(false), None, "not before it runs");
        assert_eq!(wishes.next(true), Some(Fact::Requested { savepoint: false }));
        assert_eq!(wishes.next(true), None, "told once");
        wishes.on_committed(&snapshot(1), CommitKind::Checkpoint)(&store);
        assert!(answer.try_recv().is_err());
        wishes.on_trigger(Epoch(2), CommitKind::Checkpoint);
        wishes.on_committed(&snapshot(2), CommitKind::Checkpoint)(&store);
        let done = Done { snapshot: snapshot(2), kind: CommitKind::Checkpoint, path: None };
        assert_eq!(answer.try_recv(), Ok(Ok(done)));
    }

    #[test]
    fn a_plain_checkpoint_is_no_answer_to_who_wants_a_savepoint() {
        let wishes = Wishes::default();
        let answer = wishes.ask(Wish::Savepoint { to: None });
        assert_eq!(wishes.next(true), Some(Fact::Requested { savepoint: true }));
        wishes.on_trigger(Epoch(1), CommitKind::Final);
        wishes.on_declined(Epoch(1), "x");
        assert!(answer.try_recv().is_err());
        wishes.on_attempt_over("ended with epoch 1");
        assert_eq!(answer.try_recv(), Ok(Err("nothing was committed for it: ended with epoch 1".to_owned())));
    }

    #[test]
    fn declined_savepoint_is_told_so_and_a_stop_waits_for_the_next_one() {
        let wishes = Wishes::default();
        let (asked, stop) =
            (wishes.ask(Wish::Savepoint { to: None }), wishes.ask(Wish::StopWithSavepoint { to: None }));
        while wishes.next(true).is_some() {}
        wishes.on_trigger(Epoch(1), CommitKind::Savepoint);
        wishes.on_declined(Epoch(1), "no space");
        assert_eq!(asked.try_recv(), Ok(Err("checkpoint 1 was declined: no space".to_owned())));
        assert!(stop.try_recv().is_err());
        assert_eq!(wishes.next(true), None, "the protocol knows of it");
        // The attempt fails: the pipeline goes on, and does not stop without a savepoint.
        wishes.on_attempt_over("too many");
        assert!(stop.try_recv().unwrap().is_err() && !wishes.is_stop_or_cancel());
    }

    #[test]
    fn a_stop_outlasts_the_attempt_and_an_end_answers_everybody() {
        let wishes = Wishes::default();
        let (ended, answer) = (wishes.ended(), wishes.ask(Wish::Checkpoint));
        wishes.stop(false);
        assert_eq!((wishes.next(false), wishes.next(false)), (Some(Fact::Stop), None));
        wishes.on_attempt_over("failed");
        assert_eq!(wishes.next(false), Some(Fact::Stop));
        assert!(ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty));
        wishes.close("stopped");
        assert!(ended.recv().is_err() && answer.recv().unwrap().is_err());
        assert!(wishes.ended().recv().is_err() && wishes.ask(Wish::Checkpoint).recv().unwrap().is_err());
    }
}
