//! The last wall around a guest: a call that lasts although its fuel is bounded means that the host itself is broken, and
//! then the process ends, so that the next one goes on from the newest commit. It counts its own ticks, never the wall clock: a
//! process that was frozen, or a machine that slept, has seen no ticks meanwhile; and it asks what the thread has used of a
//! processor, since one that waits for its turn is not at fault. What imports do in a call counts with it, except that
//! writing a log line may wait for whoever reads the log.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::time::Duration;

use super::limits::time_of;
use crate::clock;

/// How often the watchdog looks.
const TICK: Duration = Duration::from_millis(250);
/// How long a call may last at least: twelve ticks.
const CALL: Duration = Duration::from_secs(3);
/// How much longer than its fuel stands for a call may take on a slow or crowded machine.
const SLOWNESS: u32 = 10;

/// So many times as long it may last where its thread did not run: on a crowded machine it waits for a processor, and that
/// is no fault of the host. A call that waits for something else, for ever, is told then.
const CROWDED: u64 = 20;

/// All that run in this process.
static PROCESS: Watchdog = Watchdog { watched: Mutex::new(Vec::new()) };

/// Watches the calls of a guest in this process.
pub(super) fn watch(node: &str, sha256: &str) -> Watch {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let started = std::thread::Builder::new().name("watchdog".to_owned()).spawn(|| {
            loop {
                clock::pause(TICK);
                if let Some(overdue) = PROCESS.tick(&processor_time) {
                    eprintln!("error: bug in weir: {overdue}");
                    // Not an exit: whoever looks into it wants to see where that thread stands.
                    std::process::abort();
                }
            }
        });
        if let Err(e) = started {
            tracing::warn!("no watchdog looks after guests: {e}");
        }
    });
    PROCESS.watch(node, sha256)
}

struct Watchdog {
    watched: Mutex<Vec<Watched>>,
}

/// What the watchdog has seen of one guest.
struct Watched {
    guest: Weak<Guest>,
    /// The call that it saw last, for how many ticks in a row, and what its thread had used when it was first seen.
    call: u64,
    ticks: u64,
    used: Duration,
}

struct Guest {
    node: String,
    sha256: String,
    /// The running call: its number in the upper bits, in the lower ones how many ticks it may last. 0 between calls.
    call: AtomicU64,
    /// The clock of the thread that runs it.
    thread: AtomicI32,
}

/// What the thread of this clock has used of a processor; `None` once it has ended.
fn processor_time(thread: i32) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is plain data that the call fills; a clock of a thread that is gone is an error.
    let code = unsafe { libc::clock_gettime(thread, &mut time) };
    (code == 0).then(|| Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
}

thread_local! {
    static THREAD: i32 = {
        let mut clock = 0;
        // SAFETY: it asks about the thread that calls.
        unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        clock
    };
}

/// Bits of a call's word that say how many ticks it may last.
const TICK_BITS: u32 = 16;

impl Watchdog {
    fn watch(&self, node: &str, sha256: &str) -> Watch {
        let guest = Arc::new(Guest {
            node: node.to_owned(),
            sha256: sha256.to_owned(),
            call: AtomicU64::new(0),
            thread: AtomicI32::new(0),
        });
        let watched = Watched { guest: Arc::downgrade(&guest), call: 0, ticks: 0, used: Duration::ZERO };
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
        Watch { guest, calls: 0 }
    }

    /// Looks once. A call that has lasted too long is told.
    fn tick(&self, used: &dyn Fn(i32) -> Option<Duration>) -> Option<String> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|watched| watched.guest.strong_count() > 0);
        watched.iter_mut().find_map(|watched| watched.tick(used))
    }
}

impl Watched {
    fn tick(&mut self, used: &dyn Fn(i32) -> Option<Duration>) -> Option<String> {
        let guest = self.guest.upgrade()?;
        let call = guest.call.load(Ordering::Relaxed);
        let ticks_max = call & ((1 << TICK_BITS) - 1);
        let used = || used(guest.thread.load(Ordering::Relaxed)).unwrap_or_default();
        if call != self.call {
            self.ticks = 0;
            self.used = used();
        } else {
            self.ticks += 1;
        }
        self.call = call;
        if call == 0 || self.ticks < ticks_max {
            return None;
        }
        let ran = used().saturating_sub(self.used);
        let time = |ticks: u64| TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        (ran >= time(ticks_max) || self.ticks >= ticks_max * CROWDED).then(|| {
            format!(
                "a call of node `{}` (component sha256 {}) has run for {:?} although its fuel is bounded; this process ends, \
                 and the next start goes on from the newest commit",
                guest.node,
                guest.sha256,
                time(self.ticks)
            )
        })
    }
}

/// The guest's side: three plain stores a call.
pub(super) struct Watch {
    guest: Arc<Guest>,
    calls: u64,
}

impl Watch {
    /// A call with this fuel begins.
    pub(super) fn begin(&mut self, fuel: u64) {
        let time = CALL.max(time_of(fuel).saturating_mul(SLOWNESS));
        let ticks = (time.as_millis() / TICK.as_millis()).min((1 << TICK_BITS) - 1) as u64;
        self.calls += 1;
        self.guest.thread.store(THREAD.with(|clock| *clock), Ordering::Relaxed);
        self.guest.call.store(self.calls << TICK_BITS | ticks, Ordering::Relaxed);
    }

    /// It has ended, well or not.
    pub(super) fn end(&mut self) {
        self.guest.call.store(0, Ordering::Relaxed);
    }

    /// The call waits for something that is not the guest's.
    pub(super) fn pause(&mut self) -> Paused {
        Paused(self.guest.call.swap(0, Ordering::Relaxed))
    }

    /// It goes on.
    pub(super) fn resume(&mut self, Paused(call): Paused) {
        self.guest.call.store(call, Ordering::Relaxed);
    }
}

/// A call that is not watched for a while.
#[must_use]
pub(super) struct Paused(u64);

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 ms.
    const FUEL: u64 = 400_000_000;

    fn watched() -> (Watchdog, Watch) {
        let watchdog = Watchdog { watched: Mutex::new(Vec::new()) };
        let watch = watchdog.watch("count", "abc");
        (watchdog, watch)
    }

    /// How often a thread is looked at that always has its processor.
    fn ticks_until_told(watchdog: &Watchdog) -> Option<usize> {
        (0..200).find(|tick| watchdog.tick(&|_| Some(TICK * *tick as u32)).is_some())
    }

    /// A tick in which the thread has used so much altogether.
    fn tick(watchdog: &Watchdog, ticks: u32) -> Option<String> {
        watchdog.tick(&|_| Some(TICK * ticks))
    }

    #[test]
    fn call_that_lasts_is_told_with_node_and_digest_after_three_seconds() {
        let (watchdog, mut watch) = watched();
        watch.begin(FUEL);
        // The first tick sees that it runs; twelve more are three seconds.
        assert_eq!(ticks_until_told(&watchdog), Some(12));
        watch.begin(FUEL);
        assert_eq!((0..12).find_map(|n| tick(&watchdog, n)), None, "it is another call");
        let told = tick(&watchdog, 12).unwrap();
        assert!(told.contains("node `count` (component sha256 abc) has run for 3s"), "{told}");
    }

    #[test]
    fn guest_without_a_call_and_calls_that_end_are_never_told() {
        let (watchdog, mut watch) = watched();
        assert_eq!(ticks_until_told(&watchdog), None);
        for _ in 0..100 {
            watch.begin(FUEL);
            assert_eq!(tick(&watchdog, 0), None);
        }
        watch.end();
        assert_eq!(ticks_until_told(&watchdog), None);
        watch.begin(FUEL);
        drop(watch);
        assert_eq!(ticks_until_told(&watchdog), None);
    }

    #[test]
    fn thread_that_waits_for_a_processor_is_told_after_a_minute_only() {
        let (watchdog, mut watch) = watched();
        watch.begin(FUEL);
        assert_eq!((0..300).find(|_| tick(&watchdog, 0).is_some()), Some(240));
    }

    #[test]
    fn time_of_a_thread_that_works_moves_on() {
        let clock = THREAD.with(|clock| *clock);
        let before = processor_time(clock).unwrap();
        let mut x = 1u64;
        while processor_time(clock).unwrap() == before {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
    }

    #[test]
    fn call_with_much_fuel_gets_more_time() {
        let (watchdog, mut watch) = watched();
        watch.begin(20 * FUEL);
        assert_eq!(ticks_until_told(&watchdog), Some(80));
    }

    #[test]
    fn waiting_for_the_reader_of_the_log_does_not_count() {
        let (watchdog, mut watch) = watched();
        watch.begin(FUEL);
        let paused = watch.pause();
        assert_eq!(ticks_until_told(&watchdog), None);
        watch.resume(paused);
        assert_eq!(ticks_until_told(&watchdog), Some(12));
    }
}
