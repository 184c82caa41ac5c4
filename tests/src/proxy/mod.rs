//! A TCP proxy in front of a Kafka broker that knows frames: it holds back, drops, doubles, delays or cuts off single
//! requests and answers of one client, and logs what passed. It rewrites nothing: the broker itself advertises the
//! proxy's port on the listener behind it. It owns no judgement; tests assert on its log.
//!
//! Tests share one proxy. Each gives its clients an id of its own (`client.id`) and makes its rules for that id:
//!
//! ```no_run
//! use std::time::Duration;
//! use weir_tests::proxy::{Act, Api, Proxy, Side};
//!
//! let client = Proxy::of_this_run().client("my-test-7");
//! client.on_nth(2, Api::END_TXN, Side::Request, Act::Hold); // the first one ends the transaction of the CLAIM
//! // … start a client with bootstrap.servers = Proxy::address and client.id = my-test-7 …
//! let held = client.wait_for_held(Duration::from_secs(10));
//! // … kill it, start a successor …
//! held.release();
//! ```

mod connection;
mod decode;
mod frame;
mod log;

pub use decode::{Detail, ErrorCode, PartitionErrors};
pub use frame::{Api, Frame, Side};
pub use log::Entry;

use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use crate::kafka::Broker;
use crate::wait::wait_for;
pub use connection::Held;

/// What happens to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Goes on.
    Pass,
    /// Is kept back until it is released. The broker's side stays open when the client closes, or the late copy would
    /// vanish with it.
    Hold,
    /// Goes on, and a copy is kept, to be sent again later.
    Copy,
    /// Vanishes.
    Drop,
    /// Goes on twice. Of two answers the client gets the first.
    Double,
    /// Vanishes, and the client's side is closed; the broker's side stays.
    Cut,
    /// Goes on, and the client's side is closed: a request of which the client never gets the answer.
    PassAndCut,
    /// Goes on after this time, and so does what follows it on the connection in this direction.
    Delay(Duration),
}

/// A running proxy. It serves until the process ends.
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// The proxy in front of this run's broker, shared by all tests of the process.
    pub fn of_this_run() -> &'static Proxy {
        static PROXY: OnceLock<Proxy> = OnceLock::new();
        PROXY.get_or_init(|| Self::in_front_of(Broker::of_this_run()))
    }

    /// A proxy in front of a broker that the test has for itself.
    #[track_caller]
    pub fn in_front_of(broker: &Broker) -> Proxy {
        let addresses = broker.proxy_addresses();
        let listener = TcpListener::bind(&addresses.listen).unwrap_or_else(|error| {
            panic!("the proxy cannot listen on {}: {error}; a broker takes one proxy at a time", addresses.listen)
        });
        let shared = Arc::new(Shared { upstream: addresses.upstream.clone(), ..Shared::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                connection::serve(client, &accepting);
            }
        });
        Self { address: addresses.listen.clone(), shared }
    }

    /// The `bootstrap.servers` of a client that goes through the proxy.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The rules and the log for all clients whose id begins with `id`. Without rules everything passes.
    pub fn client(&self, id: &str) -> Client {
        Client { id: id.to_owned(), shared: Arc::clone(&self.shared) }
    }
}

/// The frames of one test's clients. Dropping it drops its rules, and what is still held.
pub struct Client {
    id: String,
    shared: Arc<Shared>,
}

impl Client {
    /// What to give a client as `client.id`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Adds a rule. Of all rules the first that has an answer for a frame decides.
    pub fn rule(&self, rule: impl FnMut(&Frame) -> Option<Act> + Send + 'static) {
        let rule = Rule { client: self.id.clone(), decide: Box::new(rule) };
        self.shared.rules.lock().unwrap().push(rule);
    }

    /// Adds a rule for the `nth` such frame from now, counted from 1.
    pub fn on_nth(&self, nth: usize, api: Api, side: Side, act: Act) {
        let mut seen = 0;
        self.rule(move |frame| {
            if frame.api == api && frame.side == side {
                seen += 1;
            }
            (frame.api == api && frame.side == side && seen == nth).then_some(act)
        });
    }

    /// From now on everything passes. What is held stays held.
    pub fn clear_rules(&self) {
        self.shared.rules.lock().unwrap().retain(|rule| rule.client != self.id);
    }

    /// The oldest frame that is held, or of which a copy was kept; waits for one.
    #[track_caller]
    pub fn wait_for_held(&self, deadline: Duration) -> Held {
        wait_for(deadline, &format!("a frame of {} is held", self.id), || self.take_held())
    }

    /// As [`Client::wait_for_held`], without waiting.
    pub fn take_held(&self) -> Option<Held> {
        let mut held = self.shared.held.lock().unwrap();
        let at = held.iter().position(|held| held.frame().client.starts_with(&self.id))?;
        held.remove(at)
    }

    /// What has passed, been held or dropped so far, in the order in which the proxy saw it.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.log.of_client(&self.id)
    }

    /// The error codes in the answers to this request so far.
    pub fn errors(&self, api: Api) -> Vec<ErrorCode> {
        let log = self.log();
        let answers = log.iter().filter(|entry| entry.api == api && entry.side == Side::Answer);
        answers.filter_map(|entry| entry.detail.as_ref()?.error()).collect()
    }

    /// Waits until the log has an entry that `matches`, and returns it.
    #[track_caller]
    pub fn wait_for(&self, deadline: Duration, what: &str, mut matches: impl FnMut(&Entry) -> bool) -> Entry {
        wait_for(deadline, what, || self.log().into_iter().find(&mut matches))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.clear_rules();
        while self.take_held().is_some() {}
    }
}

/// What all connections of a proxy share.
#[derive(Default)]
struct Shared {
    upstream: String,
    rules: Mutex<Vec<Rule>>,
    held: Mutex<VecDeque<Held>>,
    log: log::Log,
}

/// What happens to a frame; `None`: this rule has no opinion.
type Decide = Box<dyn FnMut(&Frame) -> Option<Act> + Send>;

struct Rule {
    /// What the client's id begins with.
    client: String,
    decide: Decide,
}

impl Shared {
    fn decide(&self, frame: &Frame) -> Act {
        let mut rules = self.rules.lock().unwrap();
        let of_client = rules.iter_mut().filter(|rule| frame.client.starts_with(&rule.client));
        // Every rule sees every frame, since rules count.
        let mut decision = None;
        for rule in of_client {
            let act = (rule.decide)(frame);
            decision = decision.or(act);
        }
        decision.unwrap_or(Act::Pass)
    }

    fn connect_upstream(&self) -> std::io::Result<TcpStream> {
        let upstream = TcpStream::connect(&self.upstream)?;
        upstream.set_nodelay(true)?;
        Ok(upstream)
    }
}
