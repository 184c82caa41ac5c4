//! A source node: polls its reader, finds time and keys in one scan of each value, moves the watermark in ticks and cuts the
//! batch there. Owns the watermark of the source; what fires and what is late never depends on how batches were cut.

use std::sync::Arc;
use std::time::Duration;

use weir_core::checkpoint::manifest::{SourcePositions, SplitPosition};
use weir_core::extract::Extractor;
use weir_core::graph::spec::Unit;
use weir_core::ids::{Epoch, Name};
use weir_core::key_group;
use weir_core::record::Mark;
use weir_core::watermark::Watermarks;

use super::error::Error;
use super::gate::Flow;
use super::metrics::NodeMetrics;
use super::operator::Emit;
use super::packet::{KeyExtraction, Packet};
use super::policy::{Fault, Policy, Slot};
use crate::clock;
use crate::connector::{Polled, Source, SplitStatus};
use crate::guest::Keyed;

/// How often idle splits are looked for.
const IDLE_CHECK: Duration = Duration::from_millis(200);

/// What the plan says about a source.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Its name.
    pub node: Name,
    /// Where the event time is: a JSON pointer and its unit, or the source's own timestamp.
    pub event_time: Option<(String, Unit)>,
    /// Pointers of the keys that nodes behind this source need.
    pub keys: Arc<[String]>,
    /// What happens to a record without time or key, or that is not JSON.
    pub policy: Policy,
    /// Key, value and headers together, bytes.
    pub record_max: usize,
}

/// A source node at run time.
pub struct SourceNode {
    settings: SourceSettings,
    reader: Box<dyn Source>,
    /// `None`: the source has no event time.
    watermarks: Option<Watermarks>,
    extractor: Extractor,
    metrics: Arc<NodeMetrics>,
    packet: Packet,
    /// Where the watermark crossed a tick: slot behind the record, and the watermark.
    cuts: Vec<(usize, i64)>,
    faults: Vec<(usize, String)>,
    columns: Vec<weir_core::record::Column>,
    ended: bool,
    next_idle_check: std::time::Instant,
    sent: i64,
    /// The barrier that was sent, and where the source stood.
    cut: Option<(Epoch, SourcePositions)>,
}

/// What a step of a source found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stepped {
    Worked,
    /// The same, and nothing more comes before this time has passed.
    WorkedBefore(Duration),
    Empty,
    Later(Duration),
    Ended,
}

impl SourceNode {
    /// A source whose reader stands at the restored positions.
    pub fn new(
        settings: SourceSettings,
        reader: Box<dyn Source>,
        watermarks: Option<Watermarks>,
        metrics: Arc<NodeMetrics>,
    ) -> Result<SourceNode, Error> {
        let time = settings.event_time.as_ref().map(|(pointer, unit)| (pointer.as_str(), *unit));
        let extractor = Extractor::compile(time, &settings.keys)
            .map_err(|e| Error::Bug(format!("source `{}`: {e}, and no check said so", settings.node)))?;
        let packet = Packet {
            keyed: settings.keys.iter().map(|_| Keyed::default()).collect(),
            keys_of: settings.keys.iter().cloned().map(KeyExtraction::Json).collect(),
            ..Packet::default()
        };
        let sent = watermarks.as_ref().map_or(i64::MIN, Watermarks::current);
        let node = SourceNode {
            columns: settings.keys.iter().map(|_| Default::default()).collect(),
            settings,
            reader,
            watermarks,
            extractor,
            metrics,
            packet,
            cuts: Vec::new(),
            faults: Vec::new(),
            ended: false,
            next_idle_check: clock::now(),
            sent,
            cut: None,
        };
        Ok(node)
    }

    pub(super) fn name(&self) -> &Name {
        &self.settings.node
    }

    pub(super) fn metrics(&self) -> Arc<NodeMetrics> {
        Arc::clone(&self.metrics)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The watermark that was sent before the restart goes out again, so that the nodes behind stand where they stood. A
    /// reader that has no split, since there are fewer than readers, holds nobody back.
    pub(super) fn resume(&mut self, emit: &mut Emit<'_>) -> Result<(), Error> {
        if self.watermarks.is_some() && self.reader.splits().is_empty() {
            return emit(0, Flow::Mark(Mark::Idle)).map(drop);
        }
        if self.sent > i64::MIN { emit(0, Flow::Mark(Mark::Watermark(self.sent))).map(drop) } else { Ok(()) }
    }

    /// One poll and all that follows from it.
    pub(super) fn step(&mut self, emit: &mut Emit<'_>) -> Result<Stepped, Error> {
        if self.ended {
            return Ok(Stepped::Ended);
        }
        if let Some(watermarks) = &mut self.watermarks {
            watermarks.on_poll(clock::now_millis(), clock::monotonic_millis());
        }
        let mut packet = std::mem::take(&mut self.packet);
        packet.clear();
        let polled = self.reader.poll(&mut packet.batch);
        let result = match polled {
            Err(source) => Err(Error::Connector { node: self.settings.node.clone(), source }),
            Ok(Polled::Rows) => {
                let rest = self.reader.rest().map_or(Stepped::Worked, Stepped::WorkedBefore);
                self.on_rows(&mut packet, emit).map(|()| rest)
            }
            Ok(Polled::Empty) => Ok(Stepped::Empty),
            Ok(Polled::Later(wait)) => Ok(Stepped::Later(wait)),
            Ok(Polled::Grown) => self.on_grown(emit).map(|()| Stepped::Worked),
            Ok(Polled::SplitEnded(split)) => self.on_split_end(split, emit).map(|()| Stepped::Worked),
            Ok(Polled::Ended) => self.on_end(emit).map(|()| Stepped::Worked),
        };
        self.packet = packet;
        let stepped = result?;
        self.check_idle(emit)?;
        Ok(stepped)
    }

    /// The reader has more splits: they hold the watermark back from now on, also where it had none before.
    fn on_grown(&mut self, emit: &mut Emit<'_>) -> Result<(), Error> {
        let splits = self.reader.splits().len();
        let Some(watermarks) = &mut self.watermarks else { return Ok(()) };
        while watermarks.splits() < splits {
            watermarks.add_split(None);
        }
        // Who was idle speaks again.
        emit(0, Flow::Mark(Mark::Watermark(self.sent))).map(drop)
    }

    /// A split is at its end, and waits for nobody any more. Its mark stands between two polls, right behind its last row,
    /// wherever batches were cut. A snapshot need not know: a reader that is restored there says so again.
    fn on_split_end(&mut self, split: usize, emit: &mut Emit<'_>) -> Result<(), Error> {
        let mark = self.watermarks.as_mut().and_then(|watermarks| watermarks.on_split_end(split));
        self.tell(mark, emit)
    }

    fn check_idle(&mut self, emit: &mut Emit<'_>) -> Result<(), Error> {
        let now = clock::now();
        if now < self.next_idle_check || self.ended {
            return Ok(());
        }
        self.next_idle_check = now + IDLE_CHECK;
        let splits = self.reader.splits();
        let lag = splits.iter().filter_map(|s| Some((s.high_watermark? - s.position).max(0) as u64)).sum();
        self.metrics.lag.set(lag);
        let has_more = |split: usize| splits.get(split).is_some_and(SplitStatus::has_more);
        let mark = self.watermarks.as_mut().and_then(|watermarks| watermarks.on_idle_check(has_more));
        self.tell(mark, emit)
    }

    fn tell(&mut self, mark: Option<Mark>, emit: &mut Emit<'_>) -> Result<(), Error> {
        match mark {
            Some(Mark::Watermark(to)) => self.advance(to, emit),
            Some(mark) => emit(0, Flow::Mark(mark)).map(drop),
            None => Ok(()),
        }
    }

    fn advance(&mut self, to: i64, emit: &mut Emit<'_>) -> Result<(), Error> {
        self.sent = to;
        self.metrics.set_watermark(to);
        emit(0, Flow::Mark(Mark::Watermark(to))).map(drop)
    }

    fn on_rows(&mut self, packet: &mut Packet, emit: &mut Emit<'_>) -> Result<(), Error> {
        self.metrics.records_in.add(packet.batch.len() as u64);
        self.scan(packet);
        let rows = packet.batch.len();
        if self.faults.is_empty() && self.cuts.iter().all(|(end, _)| *end == rows) {
            // The common case: the whole batch goes on as it is, then its watermark.
            self.send(packet, emit)?;
            let cuts = std::mem::take(&mut self.cuts);
            let result = cuts.iter().try_for_each(|(_, to)| self.advance(*to, emit));
            self.cuts = cuts;
            return result;
        }
        let (cuts, faults) = (std::mem::take(&mut self.cuts), std::mem::take(&mut self.faults));
        let mut part = Packet::default();
        let (mut from, mut fault) = (0, 0);
        for (end, to) in cuts.iter().map(|(end, to)| (*end, Some(*to))).chain([(rows, None)]) {
            part.clear();
            while let Some((slot, what)) = faults.get(fault).filter(|(slot, _)| *slot < end) {
                part.extend_from(packet, from..*slot);
                from = slot + 1;
                fault += 1;
                let at = ("source", &self.settings.node, &*self.metrics);
                let source = || self.settings_topic(&packet.batch, *slot);
                let slot = Slot { batch: &packet.batch, slot: *slot, key: None, source: &source };
                self.settings.policy.refuse(at, &Fault::bad("bad-record", what), &slot)?;
            }
            part.extend_from(packet, from..end);
            from = end;
            self.send(&mut part, emit)?;
            if let Some(to) = to {
                self.advance(to, emit)?;
            }
        }
        (self.cuts, self.faults) = (cuts, faults);
        Ok(())
    }

    fn settings_topic(&self, batch: &weir_core::record::Batch, slot: usize) -> Option<String> {
        let (split, (partition, _)) = (batch.split(slot)?, batch.origin(slot)?);
        let status = self.reader.splits();
        let name = &status.get(split as usize)?.split;
        // A partition is called `topic/number`; a file's path has slashes of its own.
        let topic = name.strip_suffix(&format!("/{partition}")).unwrap_or(name);
        Some(topic.to_owned()).filter(|name| !name.is_empty())
    }

    fn send(&mut self, packet: &mut Packet, emit: &mut Emit<'_>) -> Result<(), Error> {
        if packet.batch.is_empty() {
            return Ok(());
        }
        self.metrics.records_out[0].add(packet.batch.len() as u64);
        emit(0, Flow::Packet(packet)).map(drop)
    }

    /// Finds time and keys of every record, in one scan of its value, and where the watermark crosses a tick.
    fn scan(&mut self, packet: &mut Packet) {
        self.cuts.clear();
        self.faults.clear();
        for (column, keyed) in self.columns.iter_mut().zip(&mut packet.keyed) {
            std::mem::swap(column, &mut keyed.keys);
        }
        let (mut run, mut left) = (0, packet.batch.origins.first().map_or(u32::MAX, |run| run.count));
        for slot in 0..packet.batch.len() {
            while left == 0 {
                run += 1;
                left = packet.batch.origins.get(run).map_or(u32::MAX, |run| run.count);
            }
            left -= 1;
            let split = packet.batch.origins.get(run).map_or(0, |run| run.split);
            let bytes = packet.batch.keys.span(slot).len() + packet.batch.values.span(slot).len();
            let found = match bytes > self.settings.record_max {
                true => Err(format!("at least {bytes} bytes are over `limits.record` ({})", self.settings.record_max)),
                false => {
                    self.extractor.extract(packet.batch.values.get(slot), &mut self.columns).map_err(|e| e.to_string())
                }
            };
            match found {
                Ok(time) => {
                    if let Some(time) = time {
                        packet.batch.times[slot] = time;
                    }
                    for (column, keyed) in self.columns.iter().zip(&mut packet.keyed) {
                        keyed.hashes.push(key_group::hash(column.get(slot).unwrap_or_default()));
                    }
                    let time = packet.batch.times[slot];
                    if let Some(to) = self.watermarks.as_mut().and_then(|w| w.observe(split as usize, time)) {
                        self.cuts.push((slot + 1, to));
                    }
                }
                Err(what) => {
                    // Keeps the columns aligned; the slot is taken out before anything sees it.
                    for (column, keyed) in self.columns.iter_mut().zip(&mut packet.keyed) {
                        column.push(None);
                        keyed.hashes.push(0);
                    }
                    self.faults.push((slot, what));
                }
            }
        }
        for (column, keyed) in self.columns.iter_mut().zip(&mut packet.keyed) {
            std::mem::swap(column, &mut keyed.keys);
        }
    }

    /// Nothing more is read: every timer fires. Unlike at the end of input the source is not at its end.
    pub(super) fn drain(&mut self, emit: &mut Emit<'_>) -> Result<(), Error> {
        if self.sent < i64::MAX { self.advance(i64::MAX, emit) } else { Ok(()) }
    }

    fn on_end(&mut self, emit: &mut Emit<'_>) -> Result<(), Error> {
        self.ended = true;
        self.metrics.lag.set(0);
        self.advance(i64::MAX, emit)?;
        emit(0, Flow::Mark(Mark::EndOfInput)).map(drop)
    }

    /// The barrier of this epoch goes out now: what was read so far is in front of it.
    pub(super) fn on_barrier(&mut self, epoch: Epoch) {
        self.cut = Some((epoch, self.positions()));
    }

    /// The epoch of the barrier that was sent and is not yet reported.
    pub(super) fn cut(&self) -> Option<Epoch> {
        self.cut.as_ref().map(|(epoch, _)| *epoch)
    }

    pub(super) fn take_cut(&mut self) -> Option<(Epoch, SourcePositions)> {
        self.cut.take()
    }

    /// Where the source stands, and the watermark that it has sent: the same cut.
    fn positions(&self) -> SourcePositions {
        let splits = self.reader.splits();
        let splits = splits.into_iter().enumerate().map(|(i, split)| SplitPosition {
            split: split.split,
            position: split.position,
            end: split.end,
            tail: self.reader.tail(),
            largest_time: self.watermarks.as_ref().and_then(|w| w.largest(i)),
        });
        SourcePositions { identity: self.reader.identity(), splits: splits.collect(), watermark: self.sent }
    }

    pub(super) fn on_committed(&mut self, positions: &SourcePositions) {
        self.reader.on_committed(positions);
    }
}
