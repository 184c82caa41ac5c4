//! Shards that share a thread: what one does to the others, which is nothing. Real shards over scripted sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::graph::spec::Samples;
use weir_core::ids::Name;
use weir_core::record::Batch;

use super::{Bell, Prepared, RunningShard, ShardPool};
use crate::clock;
use crate::connector::{Error, Polled, Source, SplitStatus};
use crate::dataflow::{
    Node, NodeKind, NodeMetrics, OnError, Policy, Report, Reporter, SourceNode, SourceSettings, Task,
};

const SOON: Duration = Duration::from_secs(20);

/// What a source does when it is polled.
type Poll = Box<dyn FnMut() -> Polled + Send>;

struct Scripted {
    poll: Poll,
    polls: Arc<AtomicU64>,
    _alive: Arc<()>,
}

impl Source for Scripted {
    fn identity(&self) -> String {
        String::new()
    }

    fn poll(&mut self, out: &mut Batch) -> Result<Polled, Error> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        let polled = (self.poll)();
        if polled == Polled::Rows {
            out.push_origin(0, 0, 0);
            out.times.push(0);
            out.keys.push(None);
            out.values.push(Some(b"x"));
        }
        Ok(polled)
    }

    fn splits(&self) -> Vec<SplitStatus> {
        Vec::new()
    }

    fn on_committed(&mut self, _: &SourcePositions) {}
}

/// A shard of one source, and what is seen of it from outside.
struct Seen {
    bell: Arc<Bell>,
    polls: Arc<AtomicU64>,
    alive: Arc<()>,
    metrics: Arc<NodeMetrics>,
    reports: Receiver<Report>,
    running: RunningShard,
}

impl Seen {
    fn on(pool: &ShardPool, poll: impl FnMut() -> Polled + Send + 'static) -> Seen {
        Seen::start(Arc::default(), Box::new(poll), |shard, report| pool.run(vec![shard], || report()).remove(0))
    }

    fn start(bell: Arc<Bell>, poll: Poll, run: impl FnOnce(Prepared, &dyn Fn() -> Reporter) -> RunningShard) -> Seen {
        let (polls, alive) = (Arc::new(AtomicU64::new(0)), Arc::new(()));
        let node = Name::new("in").unwrap();
        let settings = SourceSettings {
            node: node.clone(),
            event_time: None,
            keys: Arc::new([]),
            policy: Policy { on_error: OnError::Fail, journal: Arc::default(), samples: Samples::default() },
            record_max: 1 << 20,
        };
        let metrics = Arc::new(NodeMetrics::new(node, None, NodeKind::Source, vec![String::new()], Arc::new([])));
        let reader = Scripted { poll, polls: Arc::clone(&polls), _alive: Arc::clone(&alive) };
        let source = SourceNode::new(settings, Box::new(reader), None, Arc::clone(&metrics)).unwrap();
        let task = Task::new(0, vec![Node::Source(Box::new(source))], vec![vec![vec![]]], vec![], vec![]);
        let (sender, reports) = sync_channel(64);
        let report = || -> Reporter {
            let sender = sender.clone();
            Box::new(move |report| drop(sender.try_send(report)))
        };
        let running = run(Prepared { tasks: vec![task], bell: Arc::clone(&bell) }, &report);
        Seen { bell, polls, alive, metrics, reports, running }
    }

    fn polls(&self) -> u64 {
        self.polls.load(Ordering::SeqCst)
    }

    #[track_caller]
    fn wait_for_polls(&self, polls: u64) {
        wait_until("it is polled so often", || self.polls() >= polls);
    }

    /// Its tasks are gone when it comes back from its stop.
    #[track_caller]
    fn stop(self) {
        self.running.stop();
        assert_eq!(Arc::strong_count(&self.alive), 1, "what it ran is gone");
    }
}

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = clock::now() + SOON;
    while !condition() {
        assert!(clock::now() < until, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_panic_of_one_shard_is_its_failure_alone() {
    let pool = ShardPool::start(1).unwrap();
    let good = Seen::on(&pool, || Polled::Rows);
    let bad = Seen::on(&pool, || panic!("on purpose"));
    match bad.reports.recv_timeout(SOON).unwrap() {
        Report::Failed(error) => assert_eq!(error.to_string(), "bug in weir: the shard panicked: on purpose"),
        _ => panic!("it says that it failed"),
    }
    good.wait_for_polls(good.polls() + 1_000);
    assert!(good.reports.try_recv().is_err(), "the other has nothing to say");
    bad.stop();
    good.stop();
}

#[test]
fn stop_waits_for_the_turn_and_ends_only_that_shard() {
    let pool = ShardPool::start(2).unwrap();
    let mut shards: Vec<Seen> = (0..8).map(|_| Seen::on(&pool, || Polled::Rows)).collect();
    shards.iter().for_each(|shard| shard.wait_for_polls(10));
    while let Some(shard) = shards.pop() {
        let polls = Arc::clone(&shard.polls);
        shard.stop();
        let stopped_at = polls.load(Ordering::SeqCst);
        shards.iter().for_each(|other| other.wait_for_polls(other.polls() + 10));
        assert_eq!(polls.load(Ordering::SeqCst), stopped_at);
    }
}

#[test]
fn a_shard_that_always_has_something_to_do_starves_nobody() {
    let pool = ShardPool::start(1).unwrap();
    let greedy = Seen::on(&pool, || Polled::Rows);
    let modest = Seen::on(&pool, || Polled::Empty);
    let timed = Seen::on(&pool, || Polled::Later(Duration::from_millis(1)));
    greedy.wait_for_polls(1);
    for _ in 0..1_000 {
        let (before, others) = (modest.polls(), greedy.polls());
        modest.bell.ring();
        modest.wait_for_polls(before + 1);
        // One turn that was under way, and one that was waiting.
        assert!(modest.polls() > before && greedy.polls() >= others);
    }
    timed.wait_for_polls(100);
    [greedy, modest, timed].into_iter().for_each(Seen::stop);
}

#[test]
fn a_bell_wakes_its_shard_and_no_other() {
    let pool = ShardPool::start(1).unwrap();
    let since = clock::now();
    let quiet: Vec<Seen> = (0..50).map(|_| Seen::on(&pool, || Polled::Empty)).collect();
    let rung = Seen::on(&pool, || Polled::Empty);
    for _ in 0..2_000 {
        let before = rung.polls();
        rung.bell.ring();
        rung.wait_for_polls(before + 1);
    }
    // They look around by themselves, ten times a second.
    let by_themselves = since.elapsed().as_millis() as u64 / 100 + 2;
    for shard in &quiet {
        assert!(shard.polls() <= by_themselves, "{} polls, and {by_themselves} are its own", shard.polls());
    }
    quiet.into_iter().chain([rung]).for_each(Seen::stop);
}

#[test]
fn a_shard_that_holds_its_thread_keeps_it_and_the_others_go_on() {
    let pool = ShardPool::start(1).unwrap();
    let others: Vec<Seen> = (0..3).map(|_| Seen::on(&pool, || Polled::Rows)).collect();
    let bell: Arc<Bell> = Arc::default();
    let (own, (free, held)) = (Arc::clone(&bell), sync_channel::<()>(1));
    let poll = Box::new(move || {
        own.leave();
        // A second time, as from the next call that takes long: it is alone by then.
        own.leave();
        let _ = held.recv();
        Polled::Empty
    });
    let holds = Seen::start(bell, poll, |shard, report| pool.run(vec![shard], || report()).remove(0));
    holds.wait_for_polls(1);
    others.iter().for_each(|other| other.wait_for_polls(other.polls() + 1_000));
    assert_eq!(holds.polls(), 1, "it is still in its first turn");
    // It goes on too, is woken as ever, and gives its thread back at its end.
    for polls in 2..5 {
        free.send(()).unwrap();
        holds.bell.ring();
        holds.wait_for_polls(polls);
        others.iter().for_each(|other| other.wait_for_polls(other.polls() + 10));
    }
    drop(free);
    holds.stop();
    others.into_iter().for_each(Seen::stop);
}

#[test]
fn the_times_of_a_node_are_the_wall_time_whoever_has_the_thread() {
    let pool = ShardPool::start(1).unwrap();
    let since = clock::now();
    let busy = |_| {
        Seen::on(&pool, || {
            let until = clock::now() + Duration::from_millis(1);
            while clock::now() < until {}
            Polled::Rows
        })
    };
    let shards: Vec<Seen> = (0..4).map(busy).collect();
    let made = clock::now();
    shards.iter().for_each(|shard| shard.wait_for_polls(50));
    let metrics: Vec<_> = shards.iter().map(|shard| Arc::clone(&shard.metrics)).collect();
    let least = clock::now();
    shards.iter().for_each(|shard| shard.wait_for_polls(shard.polls() + 2));
    let mut busy = 0;
    for node in metrics {
        busy += node.time.busy.get();
        let all = node.time.busy.get() + node.time.idle.get() + node.time.backpressured.get();
        // They were published behind a turn that began after `least`, and count from between `since` and `made`.
        let wall = since.elapsed();
        assert!(
            u128::from(all) <= wall.as_nanos() && u128::from(all) >= (least - made).as_nanos(),
            "{all} of {wall:?}"
        );
    }
    let wall = since.elapsed();
    assert!(u128::from(busy) <= wall.as_nanos(), "on one thread one works at a time: {busy} ns of {wall:?}");
    shards.into_iter().for_each(Seen::stop);
}
