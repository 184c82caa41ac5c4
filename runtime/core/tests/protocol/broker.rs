//! A model of Kafka as an old-protocol client sees it: one transactional id with producer epochs, the commit topic, the sink
//! topic; and of the pointer that takes its place without Kafka. Owns what the coordinator accepts
//! and refuses; knows nothing of processes.
//!
//! What makes it dangerous, as the real one is: EndTxn names only the producer's epoch, so a late copy ends whatever
//! transaction that epoch has open by then; and a transaction that is decided becomes visible only later.

use weir_core::checkpoint::manifest::CommitKind;

/// Row `n` of the input, written to the sink.
pub(crate) type Row = u8;

/// A record in the commit topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    /// `process.attempt.number`.
    Claim { process: u16, attempt: u16, number: u16 },
    /// Names the snapshot `epoch-token`, if it is not a reset.
    Commit { kind: CommitKind, epoch: u64, token: i64, named: i64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Content {
    pub(crate) rows: Vec<Row>,
    pub(crate) records: Vec<Record>,
}

impl Content {
    fn is_reset(&self) -> bool {
        self.records.iter().any(|record| matches!(record, Record::Commit { kind: CommitKind::Reset, .. }))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Transaction {
    /// None is open. `committed`: the last one of this producer epoch was committed, so EndTxn again is answered with Ok.
    None {
        committed: bool,
    },
    Open(Content),
    /// PrepareCommit: decided, not yet visible.
    Prepared(Content),
}

/// The answer to a request, as librdkafka reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    /// Retried by the client until it is something else.
    Concurrent,
    Fenced,
    /// INVALID_TXN_STATE.
    Invalid,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Broker {
    pub(crate) producer: u16,
    pub(crate) transaction: Transaction,
    /// The commit topic as a read_committed reader sees it. A record's place is its offset.
    pub(crate) log: Vec<Record>,
    /// The sink topic as a read_committed reader sees it.
    pub(crate) sink: Vec<Row>,
}

impl Broker {
    pub(crate) fn new() -> Broker {
        Broker { producer: 0, transaction: Transaction::None { committed: false }, log: Vec::new(), sink: Vec::new() }
    }

    /// InitProducerId: aborts what is open and fences every older producer. `None`: CONCURRENT_TRANSACTIONS.
    pub(crate) fn init(&mut self) -> Option<u16> {
        if matches!(self.transaction, Transaction::Prepared(_)) {
            return None;
        }
        self.abort();
        Some(self.producer)
    }

    /// The coordinator gives up on an open transaction.
    pub(crate) fn abort(&mut self) {
        self.producer += 1;
        self.transaction = Transaction::None { committed: false };
    }

    /// Produce, with AddPartitionsToTxn before it.
    pub(crate) fn produce(&mut self, producer: u16, row: Option<Row>, record: Option<Record>) -> Answer {
        if producer != self.producer {
            return Answer::Fenced;
        }
        if let Transaction::None { .. } = self.transaction {
            self.transaction = Transaction::Open(Content::default());
        }
        match &mut self.transaction {
            Transaction::Open(content) => {
                content.rows.extend(row);
                content.records.extend(record);
                Answer::Ok
            }
            _ => Answer::Concurrent,
        }
    }

    /// EndTxn (commit), version 1.
    pub(crate) fn end(&mut self, producer: u16) -> Answer {
        if producer != self.producer {
            return Answer::Fenced;
        }
        match std::mem::replace(&mut self.transaction, Transaction::None { committed: false }) {
            Transaction::Open(content) => {
                self.transaction = Transaction::Prepared(content);
                Answer::Ok
            }
            Transaction::Prepared(content) => {
                self.transaction = Transaction::Prepared(content);
                Answer::Concurrent
            }
            Transaction::None { committed } => {
                self.transaction = Transaction::None { committed };
                if committed { Answer::Ok } else { Answer::Invalid }
            }
        }
    }

    /// The markers are written: what was decided becomes visible.
    pub(crate) fn complete(&mut self) {
        if let Transaction::Prepared(content) = &mut self.transaction {
            if content.is_reset() {
                self.sink.clear();
            }
            self.sink.append(&mut content.rows);
            self.log.append(&mut content.records);
            self.transaction = Transaction::None { committed: true };
        }
    }

    /// The pointer instead of a transaction: a CLAIM swaps a new token in.
    pub(crate) fn swap_token(&mut self, claim: Record) -> u16 {
        self.producer += 1;
        self.log.push(claim);
        self.producer
    }

    /// The pointer: a COMMIT is swapped in if the token is still the one given.
    pub(crate) fn swap_commit(&mut self, token: u16, mut content: Content) -> bool {
        let is_ours = token == self.producer;
        if is_ours {
            if content.is_reset() {
                self.sink.clear();
            }
            self.sink.append(&mut content.rows);
            self.log.append(&mut content.records);
        }
        is_ours
    }

    /// Everything that is decided, visible or not.
    pub(crate) fn decided(&self) -> (impl Iterator<Item = Row> + '_, impl DoubleEndedIterator<Item = Record> + '_) {
        let prepared = match &self.transaction {
            Transaction::Prepared(content) => Some(content),
            _ => None,
        };
        // After a reset the input is read anew; the model empties the sink with it, so that rows are still to be there once.
        let visible: &[Row] = if prepared.is_some_and(Content::is_reset) { &[] } else { &self.sink };
        let rows = visible.iter().chain(prepared.into_iter().flat_map(|content| &content.rows));
        let records = self.log.iter().chain(prepared.into_iter().flat_map(|content| &content.records));
        (rows.copied(), records.copied())
    }
}
