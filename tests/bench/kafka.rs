//! What a record costs in `connector/kafka`, in CPU time of the whole process (user + sys), librdkafka's threads included.
//!
//! `.ci/bench kafka [million rows] [compression]`
//!
//! Produces rows of 82 bytes into a new topic with two partitions, in transactions of 100,000, and reads them back. The
//! first tenth of each part is warm-up and not counted.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark measures time, and ends at the first surprise"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir::connector::kafka::{
    Cluster, Domain, KafkaSink, KafkaSource, SourceSettings, Topics, Until, create_topic, open,
};
use weir::connector::{Authority, Outcome, Polled, Sink, Source, Waker};
use weir_core::checkpoint::commit::{Claim, Commit, VERSION};
use weir_core::checkpoint::manifest::CommitKind;
use weir_core::ids::{Epoch, Token};
use weir_core::record::Batch;

const BATCH: usize = 1_000;
const EPOCH: usize = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let brokers = std::env::var("WEIR_TEST_BROKERS").map_err(|_| "set WEIR_TEST_BROKERS")?;
    // cargo adds flags of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let millions: usize = arguments.next().map_or(Ok(2), |n| n.parse())?;
    let compression = arguments.next().unwrap_or_else(|| "none".into());
    let rows = millions * 1_000_000;
    let name = format!("bench-{}", std::process::id());
    let cluster = Cluster::at(brokers);
    create_topic(&cluster, &name, 2, &[("retention.ms", "-1")])?;
    produce(&cluster, &name, rows, &compression)?;
    consume(&cluster, &name, rows)
}

fn waker() -> (Waker, std::thread::Thread) {
    let thread = std::thread::current();
    let sleeping = thread.clone();
    (Arc::new(move || sleeping.unpark()), thread)
}

fn produce(cluster: &Cluster, topic: &str, rows: usize, compression: &str) -> Result<(), Box<dyn Error>> {
    let mut domain = Domain::new(cluster.clone(), topic, vec![topic.to_owned()]);
    domain.compression = compression.to_owned();
    let mut opened = open(&domain)?;
    let ids = vec![domain.transactional_id()];
    opened.authority.fence(&ids)?;
    committed(opened.authority.claim(&claim(ids)))?;
    opened.authority.resolve("bench")?;
    let mut sink = KafkaSink::new(Arc::clone(&opened.producer), topic, 1 << 20, 64 << 20, waker().0)?;
    let batches: Vec<Batch> = (0..100).map(batch).collect();
    let mut meter = Meter::new("produce", rows);
    let mut epoch = 0;
    opened.authority.begin()?;
    for n in 0..rows / BATCH {
        let batch = &batches[n % batches.len()];
        let mut from = 0;
        while from < batch.len() {
            from += sink.write(batch, from..batch.len())?;
            if from < batch.len() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
        meter.count(BATCH);
        if ((n + 1) * BATCH).is_multiple_of(EPOCH) {
            epoch += 1;
            opened.authority.flush()?;
            opened.authority.mark(&commit(epoch))?;
            committed(opened.authority.commit())?;
            opened.authority.begin()?;
        }
    }
    opened.authority.flush()?;
    opened.authority.mark(&commit(epoch + 1))?;
    committed(opened.authority.commit())?;
    meter.report();
    Ok(())
}

fn consume(cluster: &Cluster, topic: &str, rows: usize) -> Result<(), Box<dyn Error>> {
    let topics = Topics::Named(vec![topic.to_owned()]);
    let settings = SourceSettings { until: Some(Until::Latest), ..SourceSettings::new(cluster.clone(), topic, topics) };
    let mut source = KafkaSource::open(&settings, None, waker().0)?;
    let mut meter = Meter::new("consume", rows);
    let mut out = Batch::default();
    let mut polls = 0u64;
    loop {
        out.clear();
        polls += 1;
        match source.poll(&mut out)? {
            Polled::Rows => meter.count(out.len()),
            Polled::Empty => std::thread::park_timeout(Duration::from_millis(100)),
            Polled::Later(wait) => std::thread::park_timeout(wait),
            Polled::Grown | Polled::SplitEnded(_) => {}
            Polled::Ended => break,
        }
    }
    meter.report();
    println!("consume: {:.0} rows a poll", meter.counted as f64 / polls as f64);
    if meter.counted == rows { Ok(()) } else { Err(format!("{} rows of {rows} came back", meter.counted).into()) }
}

fn batch(n: usize) -> Batch {
    let mut batch = Batch::default();
    for i in 0..BATCH {
        let key = format!("10.{}.{}.{}", n % 10, i / 250, i % 250);
        let value = format!("{{\"ip\":\"{key:<13}\",\"ts\":1700000000123,\"path\":\"/a/17\",\"status\":200}}");
        batch.times.push(1_700_000_000_123);
        batch.keys.push(Some(key.as_bytes()));
        batch.values.push(Some(value.as_bytes()));
    }
    batch
}

fn claim(txn_ids: Vec<String>) -> Claim {
    let nothing = String::new;
    Claim {
        v: VERSION,
        nonce: "bench".into(),
        lineage: nothing(),
        txn_ids,
        host: nothing(),
        boot_id: nothing(),
        pid: 0,
        started_at: 0,
        build: nothing(),
    }
}

fn commit(epoch: u64) -> Commit {
    Commit {
        v: VERSION,
        kind: CommitKind::Checkpoint,
        lineage: String::new(),
        epoch: Epoch(epoch),
        token: Token(0),
        snapshot: None,
        positions: BTreeMap::new(),
        at: 0,
    }
}

fn committed(outcome: Outcome) -> Result<(), Box<dyn Error>> {
    match outcome {
        Outcome::Committed { .. } => Ok(()),
        Outcome::Unknown(reason) => Err(reason.into()),
    }
}

/// CPU time and wall time per row, behind the warm-up.
struct Meter {
    what: &'static str,
    warm_up: usize,
    counted: usize,
    since: Option<(usize, Duration, Instant)>,
}

impl Meter {
    fn new(what: &'static str, rows: usize) -> Meter {
        Meter { what, warm_up: rows / 10, counted: 0, since: None }
    }

    fn count(&mut self, rows: usize) {
        self.counted += rows;
        if self.since.is_none() && self.counted >= self.warm_up {
            self.since = Some((self.counted, cpu(), Instant::now()));
        }
    }

    fn report(&self) {
        let Some((from, before, begun)) = self.since else { return };
        let rows = (self.counted - from) as f64;
        let cpu = (cpu() - before).as_nanos() as f64 / rows;
        let wall = begun.elapsed().as_nanos() as f64 / rows;
        println!("{}: {} rows, {cpu:.0} ns CPU a row, {wall:.0} ns wall a row", self.what, self.counted);
    }
}

/// User and system time of this process.
fn cpu() -> Duration {
    // SAFETY: the struct is plain data that the call fills.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1_000);
    time(usage.ru_utime) + time(usage.ru_stime)
}
