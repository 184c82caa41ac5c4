//! What an operator does during a call: state, timers, rows. Holds the buffers of a call, all reused by the next one, and
//! hands them to the host at its end. Never keeps anything of one call for the next.

use crate::host;
use crate::output::{Outputs, Port, Row};
use crate::record::{Domain, NONE};
use crate::state::{Codec, Field, MapEntry, MapState, States, ValueEntry, ValueState};
use crate::timer::{Change, Timers};

/// Passed to every callback, and good for the record or timer that the callback is about.
#[derive(Default)]
pub struct Context {
    slot: u32,
    ord: u32,
    watermark: Option<i64>,
    now: Option<i64>,
    outputs: Outputs,
    timers: Timers,
    states: States,
}

impl Context {
    /// Starts a row on a port. It is complete at the end of the statement:
    /// `ctx.emit(OUT).key("k").value("v");`
    #[inline]
    pub fn emit(&mut self, port: Port) -> Row<'_> {
        Row::new(self.outputs.port(port), self.slot)
    }

    /// Passes the record on as it came, without moving a byte. Only in `process`.
    #[inline]
    pub fn forward(&mut self, port: Port) {
        self.outputs.port(port).forward([self.slot]);
    }

    /// Passes records of the batch on, by their slots, in this order. Only in `process_batch`.
    #[inline]
    pub fn forward_slots(&mut self, port: Port, slots: impl IntoIterator<Item = u32>) {
        self.outputs.port(port).forward(slots);
    }

    /// Takes the record out of the stream: it goes to the port `rejects` where that is wired, else the node's `on_error`
    /// decides. Only in `process`.
    pub fn reject(&mut self, code: &str, message: &str) {
        host::reject(self.slot, code, message);
    }

    /// The value of this key in a state. The first use in a call loads it for all keys of the call.
    #[inline]
    pub fn value<T: Codec + 'static>(&mut self, state: ValueState<T>) -> ValueEntry<'_, T> {
        let ord = self.keyed();
        self.states.value(state, ord)
    }

    /// The map of this key in a state.
    #[inline]
    pub fn map<F: Field, V: Codec>(&mut self, state: MapState<F, V>) -> MapEntry<'_, F, V> {
        let ord = self.keyed();
        self.states.map(state, ord)
    }

    /// Sets a timer of event time for this key. There is one per (key, time, tag). It fires when the watermark reaches
    /// `time`; if it has passed already, at the next watermark, never right after the call.
    #[inline]
    pub fn set_timer(&mut self, time: i64, tag: u64) {
        let ord = self.keyed();
        self.timers.push(Change::Set, Domain::Event, ord, time, tag);
    }

    /// Takes a timer of event time back.
    #[inline]
    pub fn unset_timer(&mut self, time: i64, tag: u64) {
        let ord = self.keyed();
        self.timers.push(Change::Unset, Domain::Event, ord, time, tag);
    }

    /// Sets a timer of processing time for this key.
    pub fn set_processing_timer(&mut self, time: i64, tag: u64) {
        let ord = self.keyed();
        self.timers.push(Change::Set, Domain::Processing, ord, time, tag);
    }

    /// Takes a timer of processing time back.
    pub fn unset_processing_timer(&mut self, time: i64, tag: u64) {
        let ord = self.keyed();
        self.timers.push(Change::Unset, Domain::Processing, ord, time, tag);
    }

    /// No earlier event time is expected. The least i64 before the first watermark and the greatest at the end of input:
    /// saturate when you add to it or subtract from it. The same for the whole call.
    #[inline]
    pub fn watermark(&mut self) -> i64 {
        *self.watermark.get_or_insert_with(host::watermark)
    }

    /// Processing time. The same for the whole call, and when the call is replayed in the same attempt.
    pub fn now(&mut self) -> i64 {
        *self.now.get_or_insert_with(host::now)
    }

    /// Turns the context to a record of the batch, for operators that implement `process_batch`.
    #[inline]
    pub fn at(&mut self, record: &crate::Record<'_>) {
        self.turn_to(record.slot(), record.ord().unwrap_or(NONE));
    }

    #[inline]
    pub(crate) fn turn_to(&mut self, slot: u32, ord: u32) {
        self.slot = slot;
        self.ord = ord;
        crate::panic::blame(slot);
    }

    pub(crate) fn begin(&mut self) {
        self.turn_to(NONE, NONE);
        self.watermark = None;
        self.now = None;
        // A call that failed was left in the middle.
        self.outputs.discard();
        self.timers.discard();
        self.states.begin();
    }

    pub(crate) fn finish(&mut self) {
        self.turn_to(NONE, NONE);
        self.states.flush();
        self.timers.flush();
        self.outputs.flush();
    }

    #[inline]
    fn keyed(&self) -> u32 {
        assert!(self.ord != NONE, "state and timers need a key: give the node a `key` for this input");
        self.ord
    }
}
