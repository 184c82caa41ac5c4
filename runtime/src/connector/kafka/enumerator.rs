//! Which partitions a source reads, and which of its readers reads which: at the start, and, on a thread of its own, as
//! partitions and topics come and go while it runs. Owns no position: those are with the readers, and what the readers
//! have at their barriers is what a snapshot knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use weir_core::checkpoint::manifest::SourcePositions;

use super::client::{Client, Role};
use super::fetcher::Fetcher;
use super::properties;
use super::selection::{Found, Selection, owner};
use super::settings::{self, Partition, Source as Settings};
use super::source::{Assignment, KafkaSource, Links};
use super::splits::{Split, Splits};
use crate::clock;
use crate::connector::{Error, Waker};
use crate::crash;

/// How long a look asks for metadata while the source runs.
const LOOK: Duration = Duration::from_secs(5);
/// What is not there is looked for again, so often and so soon: a broker that has just come back may not know all yet.
const SECOND_LOOKS: u32 = 2;
const SECOND_LOOK_AFTER: Duration = Duration::from_millis(300);
/// How long is waited for the end of a look.
const CLOSE: Duration = Duration::from_secs(2);
/// Fetchers that wait to be closed; beyond that a reader closes its own.
const RETURNED_MAX: usize = 16;

/// See the module. One for each source and attempt.
pub struct Enumerator {
    settings: Settings,
    selection: Selection,
    client: Client,
    /// What the readers have, or are about to.
    known: BTreeSet<Partition>,
    /// By reader, until it takes them.
    shares: BTreeMap<u32, Vec<Split>>,
    is_restored: bool,
    readers: BTreeMap<u32, Reader>,
    sender: SyncSender<Fetcher>,
    returned: Receiver<Fetcher>,
}

/// The thread that looks. It ends with the last reader; dropping this waits for that a moment, so that no process ends while
/// a client of its is being closed.
pub struct Watch(Receiver<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        // Nothing is ever sent. One that waits for brokers ends by itself, later.
        let _ = self.0.recv_timeout(CLOSE);
    }
}

/// A reader as seen from here.
struct Reader {
    news: SyncSender<Result<Assignment, Error>>,
    waker: Waker,
    /// Splits that it has.
    splits: usize,
}

impl Enumerator {
    /// Finds all partitions and where reading begins and ends in each: as the snapshot has it, else as the settings say.
    /// Blocks while it asks the cluster.
    pub fn open(settings: Settings, restored: Option<&SourcePositions>) -> Result<Enumerator, Error> {
        let client = consumer(&settings, 1)?;
        let selection = Selection::new(&settings.topics)?;
        let splits = Splits { client: &client, source: &settings, selection: &selection };
        let splits = match restored {
            None => {
                let found = look_twice(&selection, &client, settings.cluster.connect_timeout(), |found| {
                    found.missing.is_empty() && !found.partitions.is_empty()
                })?;
                splits.first(&found)?
            }
            Some(restored) => {
                if !restored.identity.starts_with(settings::IDENTITY) {
                    return Err(Error::Halt(format!(
                        "the source reads {}, but its positions are those of {}; give the source another name, or start \
                         with --from empty --rewind",
                        settings.identity(),
                        restored.identity
                    )));
                }
                let known = restored.splits.iter().filter_map(|split| Partition::parse(&split.split));
                let known: BTreeSet<_> = known.filter(|partition| selection.selects(partition)).collect();
                let found = look_twice(&selection, &client, settings.cluster.connect_timeout(), |found| {
                    found.missing.is_empty() && known.is_subset(&found.partitions)
                })?;
                splits.restore(&found, restored)?
            }
        };
        let known = splits.iter().map(|split| split.partition.clone()).collect();
        let mut shares: BTreeMap<u32, Vec<Split>> = BTreeMap::new();
        for split in splits {
            shares.entry(owner(&split.partition, settings.readers)).or_default().push(split);
        }
        let (sender, returned) = sync_channel(RETURNED_MAX);
        let (is_restored, readers) = (restored.is_some(), BTreeMap::new());
        Ok(Enumerator { settings, selection, client, known, shares, is_restored, readers, sender, returned })
    }

    /// Type and place, as in the manifest.
    pub fn identity(&self) -> String {
        self.settings.identity()
    }

    /// The reader of this index, at its positions; it begins to fetch. It may have no partition.
    pub fn reader(&mut self, index: u32, waker: Waker) -> Result<KafkaSource, Error> {
        let splits = self.shares.remove(&index).unwrap_or_default();
        let fetcher = Fetcher::open(consumer(&self.settings, splits.len())?, &splits, Waker::clone(&waker), &[])?;
        if self.is_restored {
            crash::point("restore.seeked");
        }
        // One at a time: what does not fit in is found again.
        let (news, inbox) = sync_channel(1);
        self.readers.insert(index, Reader { news, waker, splits: splits.len() });
        let links = Links { news: inbox, returned: self.sender.clone() };
        Ok(KafkaSource::new(self.identity(), splits, fetcher, self.settings.until.is_some(), links))
    }

    /// Looks for what comes and goes from now on, where it should, until all readers are gone. Call it once they are made.
    pub fn watch(self) -> Result<Option<Watch>, Error> {
        let Some(period) = self.settings.discovery.filter(|_| self.settings.until.is_none()) else { return Ok(None) };
        let (alive, ended) = sync_channel(0);
        let span = tracing::Span::current();
        let look = move || {
            span.in_scope(|| self.run(period));
            drop(alive);
        };
        let started = thread::Builder::new().name("discovery".to_owned()).spawn(look);
        started.map(|_| Some(Watch(ended))).map_err(|e| Error::Io(format!("cannot start a thread: {e}")))
    }

    fn run(mut self, period: Duration) {
        // From here on only readers hold the other end.
        self.sender = sync_channel(1).0;
        let mut is_failing = false;
        loop {
            match self.returned.recv_timeout(period) {
                // Closing a client blocks.
                Ok(fetcher) => drop(fetcher),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let was_failing = is_failing;
                    let looked = self.look();
                    is_failing = looked.is_err();
                    // Once: reading says more about brokers that do not answer.
                    if let Some(error) = looked.err().filter(|_| !was_failing) {
                        tracing::warn!("cannot look for new partitions, and will again: {error}");
                    }
                }
            }
        }
    }

    /// What is there now and was not, goes to its readers; what was and is not, ends the attempt.
    fn look(&mut self) -> Result<(), Error> {
        let known = &self.known;
        let found = look_twice(&self.selection, &self.client, LOOK, |found| known.is_subset(&found.partitions))?;
        if let Some(gone) = self.known.difference(&found.partitions).next().cloned() {
            let why = format!("partition `{gone}` does not exist any more: a restart sees what that means");
            self.tell(owner(&gone, self.settings.readers), Err(Error::Transient(why)));
            return Ok(());
        }
        let splits = Splits { client: &self.client, source: &self.settings, selection: &self.selection };
        let mut shares: BTreeMap<u32, Vec<Split>> = BTreeMap::new();
        for partition in found.partitions.difference(&self.known) {
            let reader = owner(partition, self.settings.readers);
            shares.entry(reader).or_default().push(splits.appeared(partition.clone())?);
        }
        for (reader, splits) in shares {
            self.assign(reader, splits)?;
        }
        Ok(())
    }

    fn assign(&mut self, index: u32, splits: Vec<Split>) -> Result<(), Error> {
        let Some(reader) = self.readers.get(&index) else { return Ok(()) };
        let has = reader.splits + splits.len();
        let names: Vec<&str> = splits.iter().map(|split| split.name.as_str()).collect();
        let said = format!("reads {} as well, from the oldest record", names.join(", "));
        let partitions: Vec<Partition> = splits.iter().map(|split| split.partition.clone()).collect();
        // Connected here: the reader waits for nothing.
        let client = consumer(&self.settings, has)?;
        if self.tell(index, Ok(Assignment { splits, client })) {
            tracing::info!("the source of {} {said}", self.settings.topics);
            self.known.extend(partitions);
            self.readers.entry(index).and_modify(|reader| reader.splits = has);
        }
        Ok(())
    }

    /// Whether the reader will hear of it.
    fn tell(&self, index: u32, news: Result<Assignment, Error>) -> bool {
        self.readers.get(&index).is_some_and(|reader| {
            let is_told = reader.news.try_send(news).is_ok();
            (reader.waker)();
            is_told
        })
    }
}

impl KafkaSource {
    /// The only reader of a source. Nothing tells it of what is new.
    pub fn open(settings: &Settings, restored: Option<&SourcePositions>, waker: Waker) -> Result<KafkaSource, Error> {
        Enumerator::open(settings.clone(), restored)?.reader(0, waker)
    }
}

/// A client for this many partitions.
fn consumer(settings: &Settings, partitions: usize) -> Result<Client, Error> {
    let group = settings::group(&settings.pipeline);
    let properties = properties::consumer(&settings.cluster, &group, partitions);
    Client::new(Role::Consumer, &settings.cluster, &properties)
}

/// Looks, and where not all is there looks again before anyone acts on it.
fn look_twice(
    selection: &Selection,
    client: &Client,
    timeout: Duration,
    is_all: impl Fn(&Found) -> bool,
) -> Result<Found, Error> {
    let mut found = selection.look(client, timeout)?;
    for _ in 0..SECOND_LOOKS {
        if is_all(&found) {
            break;
        }
        clock::pause(SECOND_LOOK_AFTER);
        found = selection.look(client, timeout)?;
    }
    Ok(found)
}

/// Whether all that the file asks for is there and may be seen. At the first start also whether it begins and ends where
/// it should.
pub fn check_source(settings: &Settings, is_first_start: bool) -> Result<(), Error> {
    if is_first_start {
        return Enumerator::open(settings.clone(), None).map(drop);
    }
    let client = consumer(settings, 1)?;
    let selection = Selection::new(&settings.topics)?;
    selection.expect(&selection.look(&client, settings.cluster.connect_timeout())?, client.brokers())
}
