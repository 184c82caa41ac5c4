//! Where a broker is, and brokers that a test has for itself. All starting and stopping goes through `tests/kafka/broker`,
//! the script that `make test` and `make kafka-start` use too.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// One Kafka broker with two listeners: a plain one, and one that is advertised as the address of the proxy.
pub struct Broker {
    brokers: String,
    proxy: Option<ProxyAddresses>,
    own: Option<tempfile::TempDir>,
}

/// The two ends of the proxy in front of a broker.
#[derive(Debug, Clone)]
pub struct ProxyAddresses {
    /// Where the broker tells its clients to go.
    pub listen: String,
    /// Where the broker listens for what the proxy passes on.
    pub upstream: String,
}

impl Broker {
    /// The broker of this run, shared by all tests. Without one the test fails: a skipped test proves nothing.
    pub fn of_this_run() -> &'static Broker {
        static BROKER: OnceLock<Broker> = OnceLock::new();
        BROKER.get_or_init(|| {
            let variables = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            Self::from_variables(variables, None).unwrap_or_else(|| {
                panic!(
                    "this test needs a Kafka broker, and WEIR_TEST_BROKERS is not set: run `make test`, or `make \
                     kafka-start` and set the variables in target/kafka/env"
                )
            })
        })
    }

    /// A broker of the test's own, to be killed or filled up. It takes some seconds, and is stopped on drop.
    pub fn start() -> Broker {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // --while: a test run that is killed leaves no broker behind.
        let this_process = std::process::id().to_string();
        let output = script(["start", &path_text(folder.path()), "--while", &this_process]);
        Self::from_lines(&output, folder)
    }

    /// SIGSTOP to a broker of the test's own: it holds its connections and answers nothing.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// SIGCONT after [`Broker::pause`].
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) -> i32 {
        let folder = self.own.as_ref().expect("only a broker that the test started may be killed or paused");
        let pid = std::fs::read_to_string(folder.path().join("pid")).expect("a started broker has a pid file");
        let pid: i32 = pid.trim().parse().expect("a pid file holds a number");
        // SAFETY: kill takes plain numbers. The broker is no child of ours, but the folder is, and its script wrote it.
        unsafe { libc::kill(pid, signal) };
        pid
    }

    /// SIGKILL to a broker of the test's own. Its data stays.
    pub fn kill9(&self) {
        let pid = self.signal(libc::SIGKILL);
        let gone = || has_ended(pid);
        crate::wait::wait_until(super::PATIENCE, "a killed broker is gone", gone);
    }

    /// Starts a killed broker again, with its data, on the same ports.
    pub fn start_again(&mut self) {
        let folder = self.own.take().expect("only a broker that the test started may be started again");
        let this_process = std::process::id().to_string();
        let output = script(["start", &path_text(folder.path()), "--while", &this_process]);
        *self = Self::from_lines(&output, folder);
    }

    /// The folder of a broker of the test's own, for what `tests/kafka/broker` takes.
    pub fn folder(&self) -> &Path {
        self.own.as_ref().expect("only a broker that the test started has a folder").path()
    }

    /// `host:port`, as in a pipeline file.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Where a proxy in front of this broker listens and connects.
    pub fn proxy_addresses(&self) -> &ProxyAddresses {
        self.proxy.as_ref().unwrap_or_else(|| {
            panic!(
                "this test needs the broker's second listener, and WEIR_TEST_PROXY_LISTEN and WEIR_TEST_PROXY_UPSTREAM \
                 are not set: run `make test`, or set the variables in target/kafka/env"
            )
        })
    }

    fn from_lines(output: &Output, folder: tempfile::TempDir) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let variable = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(line.to_owned())
        };
        Self::from_variables(variable, Some(folder)).expect("the script prints WEIR_TEST_BROKERS")
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>, own: Option<tempfile::TempDir>) -> Option<Self> {
        let addresses = |listen, upstream| ProxyAddresses { listen, upstream };
        let proxy = variable("WEIR_TEST_PROXY_LISTEN").zip(variable("WEIR_TEST_PROXY_UPSTREAM"));
        let proxy = proxy.map(|(listen, upstream)| addresses(listen, upstream));
        Some(Self { brokers: variable("WEIR_TEST_BROKERS")?, proxy, own })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(folder) = &self.own {
            let _ = Command::new(script_path()).args(["stop", &path_text(folder.path())]).output();
        }
    }
}

/// Whether the last thread is gone: only then are the ports free. The first thread may be a zombie before that.
fn has_ended(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |threads| threads.count());
    threads <= 1 && stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['Z', 'X']))
}

fn script<const N: usize>(arguments: [&str; N]) -> Output {
    let output = Command::new(script_path()).args(arguments).output().expect("tests/kafka/broker can be run");
    assert!(output.status.success(), "tests/kafka/broker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    // Shown with a failed test: why a port changed, for example.
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn script_path() -> PathBuf {
    crate::repository().join("tests/kafka/broker")
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("temporary folders have names in UTF-8").to_owned()
}
