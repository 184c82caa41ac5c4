//! Server-sent events, line by line. Knows nothing of what is in them.

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    /// Where to go on, if it says.
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) data: String,
}

/// Takes lines until an event is whole.
#[derive(Debug, Default)]
pub(super) struct Parser(Event);

impl Parser {
    /// The event that ends with this line.
    pub(super) fn take(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            // Behind a comment nothing has gathered.
            return Some(std::mem::take(&mut self.0)).filter(|event| !event.data.is_empty());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.0.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.0.name),
            "data" if self.0.data.is_empty() => value.clone_into(&mut self.0.data),
            "data" => self.0.data.push_str(&format!("\n{value}")),
            // A comment, or what is not known.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_and_comments_are_none() {
        let mut parser = Parser::default();
        let text = ": alive\n\nevent: log\ndata: {\"a\":1}\nid: 7\n\ndata:x\ndata: y\n\nevent: cut";
        let events: Vec<Event> = text.lines().filter_map(|line| parser.take(line)).collect();
        let log = Event { id: Some("7".to_owned()), name: "log".to_owned(), data: "{\"a\":1}".to_owned() };
        assert_eq!(events, [log, Event { data: "x\ny".to_owned(), ..Event::default() }]);
    }
}
