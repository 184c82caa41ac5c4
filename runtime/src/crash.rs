//! Named crash points: with the cargo feature `failpoints` and `WEIR_CRASH=POINT:nth` in the environment, the process
//! kills itself with SIGKILL at the nth passing of that point. Without the feature nothing of it is compiled in.

/// Every point, in the order of the protocol (`docs/crash-points.md`). A name once given out stays.
pub const POINTS: &[&str] = &[
    "barrier.injected",
    "align.first_input",
    "align.last_input",
    "state.sealed",
    "state.written",
    "snapshot.linked",
    "snapshot.files_fsynced",
    "manifest.tmp_written",
    "manifest.fsynced",
    "manifest.renamed",
    "dir.fsynced",
    "txn.begun",
    "txn.first_row",
    "mark.sent",
    "mark.acked",
    "txn.commit_sent",
    "txn.commit_acked",
    "current.swapped",
    "sink.part_renamed",
    "epoch.advanced",
    "hold.released",
    "gc.first_unlink",
    "gc.done",
    "fence.done",
    "claim.sent",
    "claim.acked",
    "resolve.read",
    "restore.manifest_read",
    "restore.files_linked",
    "restore.db_opened",
    "migrate.written",
    "restore.seeked",
    "upload.tmp_written",
    "upload.renamed",
    "deploy.switched",
    "audit.noted",
    "revision.written",
    "wish.kept",
    "trial.begun",
    "trial.passed",
    "trial.taken_back",
];

/// Where to crash, as `WEIR_CRASH` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    point: &'static str,
    nth: u64,
}

impl Plan {
    /// Reads `POINT:nth`; `nth` counts from 1 and is 1 where it is left out.
    pub fn parse(text: &str) -> Result<Plan, String> {
        let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
        let Some(point) = POINTS.iter().find(|p| **p == name) else {
            return Err(format!("WEIR_CRASH names no crash point: {name:?}; there are {}", POINTS.join(", ")));
        };
        match nth.parse() {
            Ok(nth) if nth > 0 => Ok(Plan { point, nth }),
            _ => Err(format!("WEIR_CRASH={text}: {nth:?} is not a number from 1")),
        }
    }
}

/// Checks `WEIR_CRASH`; to be called at start. A point that does not exist would otherwise never be passed, and the test
/// that asked for it would prove nothing.
pub fn check() -> Result<(), String> {
    #[cfg(feature = "failpoints")]
    if let Some(Err(error)) = armed::plan() {
        return Err(error.clone());
    }
    Ok(())
}

/// Whether this process was told to die at this point.
pub fn is_planned(name: &str) -> bool {
    #[cfg(feature = "failpoints")]
    return matches!(armed::plan(), Some(Ok(plan)) if plan.point == name);
    #[cfg(not(feature = "failpoints"))]
    {
        let _ = name;
        false
    }
}

/// The process may die here.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn point(_name: &'static str) {}

#[cfg(feature = "failpoints")]
pub use armed::point;

#[cfg(feature = "failpoints")]
mod armed {
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{POINTS, Plan};

    static PLAN: OnceLock<Option<Result<Plan, String>>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn plan() -> Option<&'static Result<Plan, String>> {
        PLAN.get_or_init(|| std::env::var("WEIR_CRASH").ok().map(|text| Plan::parse(&text))).as_ref()
    }

    /// The process may die here.
    pub fn point(name: &'static str) {
        debug_assert!(POINTS.contains(&name), "{name} is not in the list of crash points");
        // Only the planned point is counted: nothing else can be asked for in this process.
        if let Some(Ok(plan)) = plan()
            && plan.point == name
            && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == plan.nth
        {
            let _ = writeln!(std::io::stderr(), "crash point {name}, passing {}", plan.nth);
            // SAFETY: a signal to ourselves touches no memory.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            // Nothing behind the point may run while the signal is on its way.
            loop {
                std::thread::park();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_a_point_that_exists_and_a_passing_from_one() {
        assert_eq!(Plan::parse("manifest.renamed:3"), Ok(Plan { point: "manifest.renamed", nth: 3 }));
        assert_eq!(Plan::parse("gc.done"), Ok(Plan { point: "gc.done", nth: 1 }));
        assert!(Plan::parse("gc.don").unwrap_err().contains("gc.done, fence.done"));
        assert!(Plan::parse("gc.done:0").is_err());
        assert!(Plan::parse("gc.done:x").is_err());
    }

    #[test]
    fn every_point_has_one_name() {
        let mut names = POINTS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), POINTS.len());
    }
}
