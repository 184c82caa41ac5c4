//! The weir binary as a child process that a test starts, signals and judges by its exit and its words. It owns the
//! process: dropping a [`Process`] kills it, frozen or not. It knows nothing of pipelines or Kafka.

use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait::try_wait_for;

/// A command line of weir, to be spawned or run to its end.
pub struct Weir(Command);

impl Weir {
    /// `weir ARGUMENTS…` with an environment in which no crash point and no log setting is left over.
    pub fn new<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::program(crate::weir_binary(), arguments)
    }

    /// Another program under the same control: a curl of a README, a shell line.
    pub fn program<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).env_remove("WEIR_CRASH").env_remove("WEIR_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command)
    }

    /// `weir run FILE --state DIR`
    pub fn run(file: impl AsRef<Path>, state: impl AsRef<Path>) -> Self {
        Self::new(["run"]).argument(file.as_ref()).argument("--state").argument(state.as_ref())
    }

    /// One more argument.
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// SIGKILL at the `nth` passing of a crash point (`docs/crash-points.md`).
    pub fn crash_at(self, point: &str, nth: u32) -> Self {
        self.env("WEIR_CRASH", format!("{point}:{nth}"))
    }

    /// The working directory.
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.0.current_dir(directory);
        self
    }

    /// The same through another program, whose last argument before ours is the working directory.
    pub fn through(self, program: &[&str]) -> Self {
        let Weir(inner) = self;
        let directory = match inner.get_current_dir() {
            Some(directory) => directory.to_owned(),
            None => std::env::current_dir().expect("a test has a working directory"),
        };
        let mut outer = Self::program(program[0], &program[1..]).argument(directory).argument(inner.get_program());
        outer.0.args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => outer.0.env(name, value),
                None => outer.0.env_remove(name),
            };
        }
        outer
    }

    /// Starts it and returns at once.
    #[track_caller]
    pub fn spawn(mut self) -> Process {
        let line = format!("{:?}", self.0);
        let mut child = self.0.spawn().unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let stdout = Lines::read(child.stdout.take().expect("stdout is piped"));
        let stderr = Lines::read(child.stderr.take().expect("stderr is piped"));
        Process { line, child, exit: None, stdout, stderr }
    }

    /// Starts it and waits for its end.
    #[track_caller]
    pub fn finish(self, deadline: Duration) -> Finished {
        self.spawn().wait(deadline)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl Exit {
    /// SIGKILL: a crash point, or [`Process::kill9`].
    pub const KILLED: Exit = Exit::Signal(libc::SIGKILL);

    fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Exit::Code(code),
            None => Exit::Signal(status.signal().expect("a process without a code was ended by a signal")),
        }
    }
}

/// All that is left of a process.
#[derive(Debug)]
pub struct Finished {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
    line: String,
}

impl Finished {
    /// Panics with everything the process said when it ended otherwise.
    #[track_caller]
    pub fn expect(self, exit: Exit) -> Self {
        assert!(self.exit == exit, "expected {exit:?} of\n{self}");
        self
    }

    /// Exit code 0.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        self.expect(Exit::Code(0))
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nended with {:?}", self.line, self.exit)?;
        writeln!(f, "--- stdout\n{}\n--- stderr\n{}", tail(&self.stdout), tail(&self.stderr))
    }
}

/// A running process. Dropping it kills it.
pub struct Process {
    line: String,
    child: Child,
    exit: Option<Exit>,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        self.signal(libc::SIGKILL);
    }

    /// SIGTERM: last checkpoint, commit, exit 0.
    pub fn terminate(&mut self) {
        self.signal(libc::SIGTERM);
    }

    /// SIGSTOP, and waits until the kernel says that every thread stands.
    #[track_caller]
    pub fn freeze(&mut self) {
        self.signal(libc::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.pid());
        crate::wait::wait_until(Duration::from_secs(10), "a stopped process stands still", || {
            let threads = std::fs::read_dir(&tasks).expect("a stopped process is there");
            threads.flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                // The state follows the command's name, which may itself hold spaces and brackets.
                stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['T', 't', 'Z']))
            })
        });
    }

    /// SIGCONT after [`Process::freeze`].
    pub fn thaw(&mut self) {
        self.signal(libc::SIGCONT);
    }

    /// How it ended, if it has.
    pub fn try_exit(&mut self) -> Option<Exit> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().expect("the child is ours").map(Exit::of);
        }
        self.exit
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits until stdout or stderr has a line with `needle` and returns it. Panics when the process ends without one.
    #[track_caller]
    pub fn wait_for_line(&mut self, deadline: Duration, needle: &str) -> String {
        let found = try_wait_for(deadline, || {
            // Order: the exit is asked first, so that what was written just before it is not missed.
            let ended = self.try_exit().is_some();
            if ended {
                self.join_readers();
            }
            let line = [&self.stderr, &self.stdout].into_iter().find_map(|lines| lines.find(needle));
            (line.is_some() || ended).then_some(line)
        });
        match found.flatten() {
            Some(line) => line,
            None => panic!("no line with {needle:?} within {deadline:?} from\n{}", self.report()),
        }
    }

    /// Waits for the end. Past the deadline it is killed, and the test fails with what it has said.
    #[track_caller]
    pub fn wait(mut self, deadline: Duration) -> Finished {
        if try_wait_for(deadline, || self.try_exit()).is_none() {
            self.kill9();
            panic!("still running after {deadline:?}:\n{}", self.report());
        }
        self.report()
    }

    /// SIGKILL now, and waits for the end.
    #[track_caller]
    pub fn kill_and_wait(mut self) -> Finished {
        self.kill9();
        self.wait(Duration::from_secs(30))
    }

    fn signal(&mut self, signal: i32) {
        // A process that was waited for has given its id back: somebody else may have it now.
        if self.try_exit().is_none() {
            // SAFETY: kill takes plain numbers; the child is not yet reaped, so the id is still its own.
            unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
        }
    }

    fn report(&mut self) -> Finished {
        let exit = self.try_exit().unwrap_or(Exit::Code(-1));
        if self.exit.is_some() {
            self.join_readers();
        }
        Finished { exit, stdout: self.stdout(), stderr: self.stderr(), line: self.line.clone() }
    }

    fn join_readers(&mut self) {
        self.stdout.join();
        self.stderr.join();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        let _ = self.child.wait();
    }
}

/// What one pipe of the child has said, read by a thread of its own so that the child never blocks on it.
struct Lines {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn read(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn find(&self, needle: &str) -> Option<String> {
        self.text.lock().unwrap().lines().find(|line| line.contains(needle)).map(str::to_owned)
    }

    /// Only after the child's end. A grandchild may hold the pipe open, so this waits for a while, not for ever.
    fn join(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        if try_wait_for(Duration::from_secs(2), || reader.is_finished().then_some(())).is_some() {
            let _ = reader.join();
        }
    }
}

fn tail(text: &str) -> &str {
    const LINES: usize = 80;
    match text.rmatch_indices('\n').nth(LINES) {
        Some((at, _)) => &text[at + 1..],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Process {
        Weir::program("sh", ["-c", script]).spawn()
    }

    #[test]
    fn words_and_exit_code_are_kept() {
        let finished = shell("echo out; echo err >&2; exit 3").wait(SOON).expect(Exit::Code(3));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
    }

    #[test]
    fn line_is_found_while_the_process_runs_and_kill_ends_it() {
        let mut process = shell("echo ready now; exec cat /dev/zero >/dev/null");
        assert_eq!(process.wait_for_line(SOON, "ready"), "ready now");
        process.kill_and_wait().expect(Exit::KILLED);
    }

    #[test]
    fn frozen_process_stands_until_it_is_thawed() {
        let mut process = shell("trap 'echo ended; exit 0' TERM; echo ready; while :; do :; done");
        process.wait_for_line(SOON, "ready");
        process.freeze();
        process.terminate();
        assert_eq!(process.try_exit(), None);
        process.thaw();
        assert_eq!(process.wait(SOON).expect_success().stdout, "ready\nended\n");
    }

    #[test]
    fn dropped_process_is_killed_even_if_frozen() {
        let mut process = shell("echo ready; exec cat /dev/zero >/dev/null");
        process.wait_for_line(SOON, "ready");
        process.freeze();
        let stat = format!("/proc/{}/stat", process.pid());
        drop(process);
        assert!(!Path::new(&stat).exists());
    }

    #[test]
    #[should_panic(expected = "no line with \"never\"")]
    fn line_that_cannot_come_any_more_fails_at_once() {
        shell("echo something else").wait_for_line(Duration::from_secs(3600), "never");
    }
}
