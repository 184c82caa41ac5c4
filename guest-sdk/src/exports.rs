//! The exports of the contract over the canonical ABI: arguments become borrowed columns, failures become results in
//! memory. Results live in statics until the next call, so no post-return is needed and nothing is freed behind the host.

#![allow(missing_docs, reason = "called by what `export!` expands to, and by nobody else")]

use std::cell::UnsafeCell;

use crate::column::{Column, ColumnBuf};
use crate::described;
use crate::failure::FailureKind;
use crate::record::DueBatch;
use crate::runtime::Runtime;
use crate::{Batch, Config, Domain, Failure, Operator, Task, arena, host, panic};

/// Tells wit-component which world the module was built for.
#[unsafe(link_section = "component-type:weir:operator@0.1.0:operator")]
#[used]
static COMPONENT_TYPE: [u8; include_bytes!("component_type.bin").len()] = *include_bytes!("component_type.bin");

/// The instance of a component, and the results of its last call. `export!` makes one.
pub struct Instance<O> {
    inner: UnsafeCell<Inner<O>>,
}

struct Inner<O> {
    runtime: Option<Runtime<O>>,
    failure: Option<Failure>,
    migrated: ColumnBuf,
    result: [u32; 8],
}

// SAFETY: a component has one thread, and the host never enters an instance twice.
unsafe impl<O> Sync for Instance<O> {}

impl<O: Operator> Instance<O> {
    /// Before `open`.
    #[expect(clippy::new_without_default, reason = "it must be const")]
    pub const fn new() -> Instance<O> {
        let inner = Inner { runtime: None, failure: None, migrated: ColumnBuf::new(), result: [0; 8] };
        Instance { inner: UnsafeCell::new(inner) }
    }

    pub fn describe(&self) -> *mut u8 {
        panic::install();
        described::write(arena::placing_for_us(false, O::descriptor))
    }

    pub unsafe fn open(&self, pipeline: Bytes, node: Bytes, subtask: u32, parallelism: u32) -> *mut u8 {
        panic::install();
        let text = |bytes: Bytes| String::from_utf8_lossy(unsafe { bytes.items() }).into_owned();
        let task = Task { pipeline: text(pipeline), node: text(node), subtask, parallelism };
        self.enter(|inner| {
            let opened = Config::parse(&host::config()).and_then(|config| Runtime::open(&config, &task));
            opened.map(|runtime| inner.runtime = Some(runtime))
        })
    }

    pub unsafe fn process(
        &self,
        input: u32,
        ords: List<u32>,
        times: List<i64>,
        keys: (List<u32>, Bytes),
        values: (List<u32>, Bytes),
    ) -> *mut u8 {
        self.enter(|inner| unsafe {
            inner.runtime().process(&Batch::new(input, ords.items(), times.items(), column(keys), column(values)))
        })
    }

    pub unsafe fn on_timers(
        &self,
        domain: u32,
        ords: List<u32>,
        times: List<i64>,
        tags: List<u64>,
        keys: (List<u32>, Bytes),
    ) -> *mut u8 {
        let domain = if domain == 0 { Domain::Event } else { Domain::Processing };
        self.enter(|inner| unsafe {
            inner.runtime().on_timers(&DueBatch {
                domain,
                ords: ords.items(),
                times: times.items(),
                tags: tags.items(),
                keys: column(keys),
            })
        })
    }

    pub fn on_watermark(&self, at: i64) -> *mut u8 {
        self.enter(|inner| inner.runtime().on_watermark(at))
    }

    pub fn on_end(&self) -> *mut u8 {
        self.enter(|inner| inner.runtime().on_end())
    }

    pub unsafe fn migrate(&self, state: u32, from: u32, values: (List<u32>, Bytes)) -> *mut u8 {
        let result = self.enter(|inner| {
            inner.migrated = inner.runtime().migrate(state, from, unsafe { column(values) })?;
            Ok(())
        });
        // SAFETY: one thread, and `enter` has returned.
        let inner = unsafe { &mut *self.inner.get() };
        if inner.result[0] == 0 {
            let migrated = inner.migrated.items();
            let (ends, data) = (migrated.ends(), migrated.data());
            inner.result[1..5].copy_from_slice(&[
                ends.as_ptr() as u32,
                ends.len() as u32,
                data.as_ptr() as u32,
                data.len() as u32,
            ]);
        }
        result
    }

    pub fn close(&self) {
        // SAFETY: as in `enter`.
        if let Some(runtime) = unsafe { &mut (*self.inner.get()).runtime } {
            arena::placing_for_us(false, || runtime.close());
        }
        // SAFETY: the call is over.
        unsafe { arena::reset() };
    }

    /// Runs a call and writes `result<_, failure>`.
    #[inline]
    fn enter(&self, call: impl FnOnce(&mut Inner<O>) -> Result<(), Failure>) -> *mut u8 {
        // SAFETY: one thread, and the host does not enter while a call runs.
        let inner = unsafe { &mut *self.inner.get() };
        let result = arena::placing_for_us(false, || call(inner));
        // SAFETY: the call is over; results hold nothing of the arena.
        unsafe { arena::reset() };
        match result {
            Ok(()) => inner.result[0] = 0,
            Err(failure) => inner.fail(failure),
        }
        inner.result.as_mut_ptr().cast()
    }
}

impl<O: Operator> Inner<O> {
    #[inline]
    fn runtime(&mut self) -> &mut Runtime<O> {
        self.runtime.as_mut().expect("the host calls `open` first")
    }

    /// Layout: discriminant u8, kind u8 at 4, slot option<u32> at 8, code at 16, message at 24.
    fn fail(&mut self, failure: Failure) {
        let kind = match failure.kind {
            FailureKind::Retry => 0,
            FailureKind::Fatal => 1,
        };
        let failure = self.failure.insert(failure);
        self.result = [
            1,
            kind,
            failure.slot.is_some().into(),
            failure.slot.unwrap_or(0),
            failure.code.as_ptr() as u32,
            failure.code.len() as u32,
            failure.message.as_ptr() as u32,
            failure.message.len() as u32,
        ];
    }
}

/// A list that the host placed in the arena.
pub struct List<T>(pub *mut T, pub usize);
pub type Bytes = List<u8>;

impl<T> List<T> {
    /// SAFETY: the host passes lists of the type in the contract; they live until the arena is reset.
    unsafe fn items<'a>(&self) -> &'a [T] {
        if self.1 == 0 { &[] } else { unsafe { std::slice::from_raw_parts(self.0, self.1) } }
    }
}

unsafe fn column<'a>((ends, data): (List<u32>, Bytes)) -> Column<'a> {
    unsafe { Column::new(ends.items(), data.items()) }
}

/// Space for what the host passes in.
pub unsafe fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, len: usize) -> *mut u8 {
    arena::reallocate(old, old_len, align, len)
}
