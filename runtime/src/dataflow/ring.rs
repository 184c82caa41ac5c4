//! A bounded ring between two subtasks: one writes, one reads, perhaps on different shards. Owns the queue, the way back of
//! used packets and the waking of the other side; never looks into a packet. A full ring is the back-pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use weir_core::record::Mark;

use super::packet::Packet;
use super::threads::Bell;

/// Packets and marks that wait in one ring, at most.
const CAPACITY: usize = 8;

/// What moves through a ring.
pub(super) enum Element {
    Packet(Box<Packet>),
    Mark(Mark),
}

/// What both ends see.
#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    /// The writer found it full and sleeps until it is read from.
    is_blocking: AtomicBool,
}

/// The writer's end.
pub struct RingWriter {
    elements: SyncSender<Element>,
    spares: Receiver<Box<Packet>>,
    shared: Arc<Shared>,
    reader: Arc<Bell>,
}

/// The reader's end.
pub struct RingReader {
    elements: Receiver<Element>,
    spares: SyncSender<Box<Packet>>,
    shared: Arc<Shared>,
    writer: Arc<Bell>,
}

/// A ring from a subtask of one shard to one of another, or of the same.
pub fn ring(writer: &Arc<Bell>, reader: &Arc<Bell>) -> (RingWriter, RingReader) {
    let (elements, received) = sync_channel(CAPACITY);
    let (used, spares) = sync_channel(CAPACITY);
    let shared = Arc::new(Shared::default());
    (
        RingWriter { elements, spares, shared: Arc::clone(&shared), reader: Arc::clone(reader) },
        RingReader { elements: received, spares: used, shared, writer: Arc::clone(writer) },
    )
}

impl RingWriter {
    /// Puts an element in, or gives it back if the ring is full. A reader that is gone takes everything: its shard has
    /// reported why.
    pub(super) fn push(&self, element: Element) -> Result<(), Element> {
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        match self.elements.try_send(element) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {
                self.reader.ring();
                Ok(())
            }
            Err(TrySendError::Full(element)) => {
                self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
                self.shared.is_blocking.store(true, Ordering::Release);
                Err(element)
            }
        }
    }

    /// Whether nothing of this ring is left to be read.
    pub(super) fn is_empty(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) == 0
    }

    /// Whether the reader's shard has nothing to do at all.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_empty() && self.reader.is_asleep()
    }

    /// An empty packet: one that came back, or a new one.
    pub(super) fn spare(&self) -> Box<Packet> {
        self.spares.try_recv().unwrap_or_default()
    }
}

impl RingReader {
    /// Takes the oldest element out.
    pub(super) fn pop(&self) -> Option<Element> {
        let element = self.elements.try_recv().ok()?;
        self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        if self.shared.is_blocking.swap(false, Ordering::AcqRel) {
            self.writer.ring();
        }
        Some(element)
    }

    /// Gives a packet back, with its memory.
    pub(super) fn give_back(&self, mut packet: Box<Packet>) {
        packet.clear();
        // One too many is dropped.
        let _ = self.spares.try_send(packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_gives_back_what_it_cannot_take_and_goes_on_in_order() {
        let (writer, reader) = ring(&Arc::default(), &Arc::default());
        let mark = |time| Element::Mark(Mark::Watermark(time));
        for time in 0..CAPACITY as i64 {
            assert!(writer.push(mark(time)).is_ok());
        }
        assert!(matches!(writer.push(mark(99)), Err(Element::Mark(Mark::Watermark(99)))));
        for time in 0..CAPACITY as i64 {
            assert!(matches!(reader.pop(), Some(Element::Mark(Mark::Watermark(t))) if t == time));
        }
        assert!(reader.pop().is_none() && writer.is_empty());
        assert!(writer.push(mark(1)).is_ok());
    }

    #[test]
    fn a_packet_comes_back_with_its_memory() {
        let (writer, reader) = ring(&Arc::default(), &Arc::default());
        let mut packet = writer.spare();
        packet.batch.times.extend(0..100);
        assert!(writer.push(Element::Packet(packet)).is_ok());
        let Some(Element::Packet(packet)) = reader.pop() else { panic!("it was put in") };
        reader.give_back(packet);
        let again = writer.spare();
        assert!(again.batch.is_empty() && again.batch.times.capacity() >= 100);
    }
}
