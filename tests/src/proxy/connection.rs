//! One client connection and its one connection to the broker: two threads that carry frames, each asking the rules. It
//! owns what happens when one of the two sides ends while a frame is held.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{Act, Frame, Shared, Side, frame};

/// Carries a client's frames from now on. Returns at once.
pub(super) fn serve(client: TcpStream, shared: &Arc<Shared>) {
    // Without a broker behind it the proxy does what the broker's own port would: the connection ends.
    let Ok(upstream) = shared.connect_upstream() else { return };
    let _ = client.set_nodelay(true);
    let (Ok(client_reader), Ok(upstream_reader)) = (client.try_clone(), upstream.try_clone()) else { return };
    let connection = Connection::new(Some(client), upstream, shared);
    let answers = Arc::clone(&connection);
    thread::spawn(move || connection.carry_requests(client_reader));
    thread::spawn(move || answers.carry_answers(upstream_reader));
}

/// A frame that was taken out, or a copy of one that went on.
pub struct Held {
    frame: Frame,
    connection: Arc<Connection>,
    /// Whether it keeps the broker's side of its connection open.
    keeps_open: bool,
}

impl Held {
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Sends it on the connection that it came on, now. The client need not be there any more.
    pub fn release(self) {
        // Where the broker has closed its side meanwhile, the frame is lost, as it would be on the wire.
        let _ = self.connection.send(&self.frame);
    }

    /// Sends a copy of a request on a new connection to the broker. The answer is in the log.
    pub fn inject(&self) -> io::Result<()> {
        assert!(self.frame.side == Side::Request, "only a request can be sent on a connection of its own");
        let shared = &self.connection.shared;
        let upstream = shared.connect_upstream()?;
        let reader = upstream.try_clone()?;
        let connection = Connection::new(None, upstream, shared);
        connection.send(&self.frame)?;
        thread::spawn(move || connection.carry_answers(reader));
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.keeps_open {
            self.connection.held.fetch_sub(1, Ordering::SeqCst);
            self.connection.close_if_done();
        }
    }
}

pub(super) struct Connection {
    number: u64,
    shared: Arc<Shared>,
    /// The client's side, until it has closed.
    client: Mutex<Option<TcpStream>>,
    upstream: Mutex<TcpStream>,
    /// Requests that the broker has not yet answered, by correlation id, oldest first. A doubled request has two.
    pending: Mutex<HashMap<i32, VecDeque<Frame>>>,
    /// Requests on which `Double` or a second sending made further answers: the client gets only the first.
    answered: Mutex<HashMap<i32, usize>>,
    held: AtomicUsize,
    client_closed: AtomicBool,
}

impl Connection {
    fn new(client: Option<TcpStream>, upstream: TcpStream, shared: &Arc<Shared>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            shared: Arc::clone(shared),
            client_closed: AtomicBool::new(client.is_none()),
            client: Mutex::new(client),
            upstream: Mutex::new(upstream),
            pending: Mutex::default(),
            answered: Mutex::default(),
            held: AtomicUsize::new(0),
        })
    }

    fn carry_requests(self: Arc<Self>, mut client: TcpStream) {
        while let Ok(Some(bytes)) = frame::read(&mut client) {
            let Ok(request) = Frame::request(bytes) else { break };
            if self.pass_on(request).is_err() {
                break;
            }
        }
        self.client_closed.store(true, Ordering::SeqCst);
        self.close_client();
        self.close_if_done();
    }

    fn carry_answers(self: Arc<Self>, mut upstream: TcpStream) {
        while let Ok(Some(bytes)) = frame::read(&mut upstream) {
            let Some(answer) = self.label(bytes) else { continue };
            if self.pass_on(answer).is_err() {
                break;
            }
            self.close_if_done();
        }
        self.close_client();
    }

    /// Asks the rules and does what they say.
    fn pass_on(self: &Arc<Self>, frame: Frame) -> io::Result<()> {
        let act = self.shared.decide(&frame);
        self.shared.log.add(self.number, &frame, act);
        match act {
            Act::Pass => self.send(&frame),
            Act::Hold => {
                self.keep(frame, true);
                Ok(())
            }
            Act::Copy => {
                self.send(&frame)?;
                self.keep(frame, false);
                Ok(())
            }
            Act::Drop => Ok(()),
            Act::Double => {
                self.send(&frame)?;
                self.send(&frame)
            }
            Act::Cut => {
                self.close_client();
                Ok(())
            }
            Act::PassAndCut => {
                self.send(&frame)?;
                self.close_client();
                Ok(())
            }
            Act::Delay(time) => {
                let end = weir::clock::now() + time;
                while let Some(left) = end.checked_duration_since(weir::clock::now()).filter(|left| !left.is_zero()) {
                    thread::park_timeout(left);
                }
                self.send(&frame)
            }
        }
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        match frame.side {
            Side::Request => {
                let mut upstream = self.upstream.lock().unwrap();
                // Order: known as pending before the broker can answer it.
                let known = Frame { bytes: Vec::new(), ..frame.clone() };
                self.pending.lock().unwrap().entry(frame.correlation).or_default().push_back(known);
                frame::write(&mut *upstream, &frame.bytes)
            }
            Side::Answer => {
                let mut answered = self.answered.lock().unwrap();
                let times = answered.entry(frame.correlation).or_default();
                *times += 1;
                if *times > 1 {
                    return Ok(());
                }
                drop(answered);
                match &mut *self.client.lock().unwrap() {
                    // A client that went away misses its answers; the broker's side may still be needed.
                    Some(client) => frame::write(client, &frame.bytes).or(Ok(())),
                    None => Ok(()),
                }
            }
        }
    }

    /// An answer with what its request said; `None` for one that nobody asked for.
    fn label(&self, bytes: Vec<u8>) -> Option<Frame> {
        let correlation = frame::answer_correlation(&bytes)?;
        let mut pending = self.pending.lock().unwrap();
        let requests = pending.get_mut(&correlation)?;
        let request = requests.pop_front()?;
        if requests.is_empty() {
            pending.remove(&correlation);
        }
        Some(Frame { side: Side::Answer, bytes, ..request })
    }

    fn keep(self: &Arc<Self>, frame: Frame, keeps_open: bool) {
        if keeps_open {
            self.held.fetch_add(1, Ordering::SeqCst);
        }
        let held = Held { frame, connection: Arc::clone(self), keeps_open };
        self.shared.held.lock().unwrap().push_back(held);
    }

    fn close_client(&self) {
        if let Some(client) = self.client.lock().unwrap().take() {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Ends the broker's side once the client is gone, nothing is held, and all that was sent is answered.
    fn close_if_done(&self) {
        let open = !self.client_closed.load(Ordering::SeqCst) || self.held.load(Ordering::SeqCst) > 0;
        if !open && self.pending.lock().unwrap().is_empty() {
            let _ = self.upstream.lock().unwrap().shutdown(Shutdown::Both);
        }
    }
}
