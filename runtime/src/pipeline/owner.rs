//! Who runs a pipeline: host, boot, process. Written into every CLAIM, so that a successor can tell a process that is gone
//! from one that may still live. For politeness only: safety comes from fencing.

use weir_core::checkpoint::commit::Claim;
use weir_core::domain::Owner;

/// This process.
pub(super) fn this_process() -> Owner {
    Owner {
        host: read("/proc/sys/kernel/hostname").unwrap_or_else(|| "unknown".to_owned()),
        boot_id: boot_id(),
        pid: std::process::id(),
        started_at: started_at(std::process::id()).unwrap_or_default(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Whether whoever wrote this CLAIM ran on this boot of this host and is no more: its process is gone, or is this one, which
/// runs one attempt of a pipeline at a time.
pub(super) fn is_gone(claim: &Claim) -> bool {
    let ours = boot_id();
    let lives = || claim.pid != std::process::id() && started_at(claim.pid) == Some(claim.started_at);
    !ours.is_empty() && claim.boot_id == ours && !lives()
}

fn boot_id() -> String {
    read("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// When a process started, milliseconds since 1970; `None` if there is none of this id. Of the resolution of the kernel's
/// clock ticks, and the same for every reader.
fn started_at(pid: u32) -> Option<i64> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // Behind the name in parentheses, which may hold anything: state is field 3, the start time field 22.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let ticks: i64 = fields.nth(18)?.parse().ok()?;
    let booted: i64 = read("/proc/stat")?.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    // A zombie is gone: it holds no file and sends nothing.
    (state != "Z").then_some(booted * 1000 + ticks * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_this_boot_that_is_no_more_is_gone() {
        let owner = this_process();
        let claim = |pid, started_at, boot_id: &str| Claim {
            v: 1,
            nonce: String::new(),
            lineage: String::new(),
            txn_ids: Vec::new(),
            host: owner.host.clone(),
            boot_id: boot_id.to_owned(),
            pid,
            started_at,
            build: String::new(),
        };
        assert!(
            is_gone(&claim(owner.pid, owner.started_at, &owner.boot_id)),
            "our own attempt before this one has ended"
        );
        let parent = std::os::unix::process::parent_id();
        let since = started_at(parent).unwrap();
        assert!(!is_gone(&claim(parent, since, &owner.boot_id)), "another process lives");
        assert!(is_gone(&claim(parent, since - 10_000, &owner.boot_id)), "its pid was another's");
        assert!(is_gone(&claim(owner.pid, owner.started_at - 10_000, &owner.boot_id)), "our pid was another's");
        assert!(
            !is_gone(&claim(owner.pid, owner.started_at - 10_000, "another boot")),
            "of another host nothing is known"
        );
    }
}
