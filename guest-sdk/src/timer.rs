//! Timers that a call sets and unsets: collected in columns, one call of the host per run of equal operations.

use crate::host;
use crate::record::Domain;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Set,
    Unset,
}

#[derive(Default)]
pub(crate) struct Timers {
    /// Of everything in the columns: setting and unsetting one timer must reach the host in the order of the calls.
    pending: Option<(Change, Domain)>,
    ords: Vec<u32>,
    times: Vec<i64>,
    tags: Vec<u64>,
}

impl Timers {
    #[inline]
    pub(crate) fn push(&mut self, change: Change, domain: Domain, ord: u32, time: i64, tag: u64) {
        if self.pending != Some((change, domain)) {
            self.flush();
            self.pending = Some((change, domain));
        }
        self.ords.push(ord);
        self.times.push(time);
        self.tags.push(tag);
    }

    pub(crate) fn flush(&mut self) {
        match self.pending {
            Some((Change::Set, domain)) => host::set_timers(domain, &self.ords, &self.times, &self.tags),
            Some((Change::Unset, domain)) => host::unset_timers(domain, &self.ords, &self.times, &self.tags),
            None => {}
        }
        self.discard();
    }

    pub(crate) fn discard(&mut self) {
        self.pending = None;
        self.ords.clear();
        self.times.clear();
        self.tags.clear();
    }
}
