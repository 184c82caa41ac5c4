//! The lock of a folder: one process has it, and its id stands in it. Whoever holds it keeps it until its end, whatever ends
//! it. Knows nothing of what is in the folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Between two looks at who has it.
const LOOK: Duration = Duration::from_millis(20);
/// Looks at a process that dies: one that needs more than five seconds is told of.
const LOOKS_MAX: u32 = 250;
/// Looks at this process, which has let go, while a child of it is on the way to being another program: until then that has a
/// copy of every open file.
const LOOKS_OWN: u32 = 10;

/// What became of a lock that was asked for.
#[derive(Debug)]
pub enum Lock {
    /// Held for as long as the file is open.
    Ours(File),
    /// Another process has it: its id, as far as it can be read.
    Held(Option<u32>),
}

/// Takes the lock `path`, which is made where it is not. One whose holder was killed is waited for: a process lets go of its
/// locks only once the last of its threads is gone, some time behind the kill. `pause` waits.
pub fn take(path: &Path, pause: impl Fn(Duration)) -> io::Result<Lock> {
    for look in 0..LOOKS_MAX {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            // Who had it may have removed it in between: then this is the lock of nothing.
            Ok(()) if fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|it| it.ino() == there.ino())) => {
                file.set_len(0)?;
                writeln!(file, "{}", std::process::id())?;
                return Ok(Lock::Ours(file));
            }
            Ok(()) => continue,
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        match holder(&mut file) {
            Some(pid) if is_dying(pid) => pause(LOOK),
            Some(pid) if pid == std::process::id() && look < LOOKS_OWN => pause(LOOK),
            alive => return Ok(Lock::Held(alive)),
        }
    }
    Ok(Lock::Held(File::open(path).ok().and_then(|mut file| holder(&mut file))))
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether a process is gone, or will be without doing anything more: `SIGKILL` is on its way to it, or it has begun to exit.
fn is_dying(pid: u32) -> bool {
    const PF_EXITING: u32 = 0x4;
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // Behind the name in parentheses, which may hold anything: state is field 3, flags are field 9.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let is_over = matches!(fields.next(), None | Some("Z" | "X"));
    let exits = fields.nth(5).and_then(|flags| flags.parse().ok()).is_some_and(|flags: u32| flags & PF_EXITING != 0);
    is_over || exits || is_killed(pid)
}

fn is_killed(pid: u32) -> bool {
    const KILL: u64 = 1 << (9 - 1);
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let pending = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    [pending("SigPnd:"), pending("ShdPnd:")].into_iter().flatten().any(|mask| mask & KILL != 0)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::process::Command;
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_holder_that_lives_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let Lock::Ours(held) = take(&path, |_| panic!("nothing to wait for")).unwrap() else { panic!("it is free") };
        let own = std::process::id();
        // Another process than this one is not even waited for.
        let parent = std::os::unix::process::parent_id();
        for (holder, looks) in [(own, LOOKS_OWN), (parent, 0)] {
            fs::write(&path, format!("{holder}\n")).unwrap();
            let looked = Cell::new(0);
            match take(&path, |_| looked.set(looked.get() + 1)).unwrap() {
                Lock::Held(pid) => assert_eq!((pid, looked.get()), (Some(holder), looks)),
                Lock::Ours(_) => panic!("two have it"),
            }
        }
        drop(held);
        fs::write(&path, format!("{own}\n")).unwrap();
        assert!(matches!(take(&path, std::thread::park_timeout).unwrap(), Lock::Ours(_)));
    }

    /// A `kill -9` and a new start right behind it: the lock is still held, by a process that does nothing more.
    #[test]
    fn a_holder_that_was_killed_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let mut killed = Command::new("true").spawn().unwrap();
        let pid = killed.id();
        killed.wait().unwrap();
        assert!(is_dying(pid) && !is_dying(std::process::id()));
        let held = File::create(&path).unwrap();
        held.try_lock().unwrap();
        writeln!(&held, "{pid}").unwrap();
        let (looked, looks) = sync_channel(0);
        let taking = std::thread::spawn(move || take(&path, |_| looked.send(()).unwrap_or_default()));
        looks.recv().unwrap();
        drop(held);
        drop(looks);
        assert!(matches!(taking.join().unwrap().unwrap(), Lock::Ours(_)));
    }
}
