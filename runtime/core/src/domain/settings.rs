//! What a domain is told once, before it starts. Plain values.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::coordinator;
use crate::ids::{Epoch, Token};

/// Settings of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Transactional ids, the data's first. Empty for the `CURRENT` pointer.
    pub ids: Vec<String>,
    /// Random id of the pipeline's first start, kept in the state folder. A CLAIM or COMMIT of another lineage is refused.
    pub lineage: String,
    /// Random, one per process: prefix of all its nonces.
    pub process: String,
    /// Number of this attempt within the process.
    pub attempt: u32,
    /// [`Domain::token`](super::Domain::token) of the newest attempt before in this process that had one: if an instance
    /// with a higher one has committed meanwhile, this process is deposed.
    pub held: Option<Token>,
    /// Who we are, for the CLAIM.
    pub owner: Owner,
    /// Where to start. `Empty` and `Delete` hold until [`Domain::has_run`](super::Domain::has_run); the next attempts
    /// of the process start from `Newest`, or they would throw away what was committed since.
    pub start: Start,
    /// Do not wait for a live owner. Holds until this process was an owner itself.
    pub takeover: bool,
    /// Time between checkpoints; `None`: only on request.
    pub interval: Option<Duration>,
    /// Time from the start to the first checkpoint, where that is not an interval too: pipelines that start together need not
    /// all cut at the same moment for ever.
    pub first: Option<Duration>,
    /// Least time between a checkpoint's completion and the next.
    pub min_pause: Duration,
    /// A checkpoint that takes longer is cancelled.
    pub checkpoint_timeout: Duration,
    /// Consecutive cancelled checkpoints that are borne; one more ends the attempt.
    pub tolerable_failures: u32,
    /// The broker aborts a transaction that is open for longer. `None`: no limit (`CURRENT`).
    pub transaction_timeout: Option<Duration>,
    /// Taken off `transaction_timeout` (at most half of it): past that the attempt ends instead of being fenced half way.
    pub transaction_margin: Duration,
    /// Committed snapshots that are kept.
    pub retain: usize,
    /// Sink subtasks that report `BarrierPassed`.
    pub sinks: u32,
    /// CLAIMs in a row that may be slow before the attempt gives up.
    pub claims_max: u32,
    /// Rules that a test may switch off to see that they are needed. Never touched outside tests.
    #[doc(hidden)]
    pub rules: Rules,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            ids: Vec::new(),
            lineage: String::new(),
            process: String::new(),
            attempt: 0,
            held: None,
            owner: Owner::default(),
            start: Start::Newest,
            takeover: false,
            interval: Some(Duration::from_secs(1)),
            first: None,
            min_pause: Duration::ZERO,
            checkpoint_timeout: Duration::from_secs(60),
            tolerable_failures: 3,
            transaction_timeout: Some(Duration::from_secs(120)),
            transaction_margin: Duration::from_secs(30),
            retain: 3,
            sinks: 1,
            claims_max: 8,
            rules: Rules::default(),
        }
    }
}

impl Settings {
    pub(super) fn coordinator(&self) -> coordinator::Settings {
        coordinator::Settings {
            interval: self.interval,
            first: self.first,
            min_pause: self.min_pause,
            timeout: self.checkpoint_timeout,
            tolerable_failures: self.tolerable_failures,
            participants: self.sinks,
        }
    }

    /// How long an owner that may live is left alone: until no COMMIT of its came for so long.
    pub(super) fn patience(&self) -> Duration {
        (self.interval.unwrap_or_default() * 3).max(Duration::from_secs(10))
    }

    /// How long a transaction may be open.
    pub(super) fn transaction_budget(&self) -> Option<Duration> {
        self.transaction_timeout.map(|timeout| timeout.saturating_sub(self.transaction_margin).max(timeout / 2))
    }

    /// The nonce of this attempt's `number`th CLAIM.
    pub(super) fn nonce(&self, number: u32) -> String {
        format!("{}.{}.{number}", self.process, self.attempt)
    }

    /// Whether a CLAIM was written by this process.
    pub(super) fn is_own_process(&self, nonce: &str) -> bool {
        nonce.strip_prefix(self.process.as_str()).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The token in the names of this attempt's snapshots.
    pub(super) fn name_token(&self, token: Token) -> Token {
        if self.rules.token_names { token } else { Token(-1) }
    }
}

/// Settings that are shared by all clones of a domain, and that do not take part in its hash: they never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fixed(Arc<Settings>);

impl Fixed {
    pub(super) fn new(settings: Settings) -> Fixed {
        Fixed(Arc::new(settings))
    }
}

impl Deref for Fixed {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

impl Hash for Fixed {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Who claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// Host name.
    pub host: String,
    /// Id of the host's boot.
    pub boot_id: String,
    /// Process id.
    pub pid: u32,
    /// Milliseconds since 1970.
    pub started_at: i64,
    /// Version of weir.
    pub build: String,
}

/// Where to start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// From the newest COMMIT, or empty if nothing was ever committed.
    #[default]
    Newest,
    /// `--from empty`: with `rewind` a COMMIT of kind reset comes first; without it existing state is refused.
    Empty {
        /// `--rewind` was given.
        rewind: bool,
    },
    /// `--from DIR`: a savepoint, or a checkpoint of some state folder, becomes the newest commit (of kind rewind) and is
    /// restored. With a commit there that is newer, only with `rewind`.
    Savepoint {
        /// Its epoch.
        epoch: Epoch,
        /// Its token.
        token: Token,
        /// It comes from the history of this state folder: its lineage is ours.
        is_ours: bool,
        /// `--rewind` was given.
        rewind: bool,
    },
    /// `weir pipeline rm`, `on_cancel = "delete"`: commit the reset, remove the files, end.
    Delete,
}

impl Start {
    /// Whether state is thrown away on purpose: a COMMIT of kind reset comes first.
    pub fn is_reset(self) -> bool {
        matches!(self, Start::Empty { rewind: true } | Start::Delete)
    }

    /// Whether something else is restored than what the newest commit names: that may be gone.
    pub fn leaves_newest(self) -> bool {
        self.is_reset() || matches!(self, Start::Savepoint { .. })
    }

    /// Whether what is committed may be of anybody, or gone: the user goes back on purpose.
    pub fn is_rewind(self) -> bool {
        self.is_reset() || matches!(self, Start::Savepoint { rewind: true, .. })
    }
}

/// One switch per rule that the protocol needs: off means the weakened variant.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Names of snapshots carry the token, and the digest is checked.
    pub token_names: bool,
    /// Deletion from a positive list, never "everything but the newest".
    pub positive_list: bool,
    /// The newest COMMIT is read after fencing.
    pub resolve_after_fence: bool,
    /// A suspicious commit makes the id be claimed again.
    pub reclaim: bool,
    /// A slow CLAIM is repeated after a new FENCE.
    pub refence_slow_claim: bool,
    /// After a new FENCE always a CLAIM and RESOLVE.
    pub claim_after_fence: bool,
    /// A re-claim after a slow re-claim checks every link of the chain of CLAIMs.
    pub verify_each_claim: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            token_names: true,
            positive_list: true,
            resolve_after_fence: true,
            reclaim: true,
            refence_slow_claim: true,
            claim_after_fence: true,
            verify_each_claim: true,
        }
    }
}
