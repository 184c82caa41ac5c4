//! A reader of server-sent events over a connection of its own, which a test can break at any moment.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Where to go on.
    pub id: Option<u64>,
    /// Its kind.
    pub name: String,
    /// Its content.
    pub data: Value,
}

/// A stream that is open.
#[derive(Debug)]
pub struct Events {
    lines: BufReader<TcpStream>,
    head: String,
}

impl Events {
    /// Asks for a stream. In HTTP/1.0, so that lines are not cut into chunks.
    pub fn open(address: &str, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).unwrap();
        let mut events = Events { lines: BufReader::new(stream), head: String::new() };
        while let Some(line) = events.line().filter(|line| !line.is_empty()) {
            events.head.push_str(&line);
            events.head.push('\n');
        }
        events
    }

    /// Panics when it was refused.
    #[track_caller]
    pub fn expect(self) -> Events {
        assert!(self.head.contains(" 200 "), "{}", self.head);
        assert!(self.head.to_lowercase().contains("content-type: text/event-stream"), "{}", self.head);
        self
    }

    /// The status line and the headers.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The next event; nothing behind the end.
    pub fn next_event(&mut self) -> Option<Event> {
        let (mut id, mut name, mut data) = (None, String::new(), None);
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                _ if line.is_empty() => match data.take() {
                    Some(data) => return Some(Event { id, name, data }),
                    None => continue,
                },
                Some(("id", value)) => id = value.parse().ok(),
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                _ => {}
            }
        }
    }

    /// Breaks the connection.
    pub fn cut(self) {
        let _ = self.lines.get_ref().shutdown(Shutdown::Both);
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }
}
