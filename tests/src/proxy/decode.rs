//! What is inside the four requests of a transaction and their answers, as far as tests assert on it. Versions that
//! librdkafka and Kafka's own clients send today; another version has no detail, it is never guessed.

use std::fmt;

use super::{Api, Frame, Side};

/// An error code in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i16);

impl ErrorCode {
    pub const NONE: ErrorCode = ErrorCode(0);
    pub const COORDINATOR_NOT_AVAILABLE: ErrorCode = ErrorCode(15);
    pub const NOT_COORDINATOR: ErrorCode = ErrorCode(16);
    pub const INVALID_PRODUCER_EPOCH: ErrorCode = ErrorCode(47);
    pub const INVALID_TXN_STATE: ErrorCode = ErrorCode(48);
    pub const INVALID_PRODUCER_ID_MAPPING: ErrorCode = ErrorCode(49);
    pub const CONCURRENT_TRANSACTIONS: ErrorCode = ErrorCode(51);
    pub const PRODUCER_FENCED: ErrorCode = ErrorCode(90);

    /// Whether the broker refused because a newer producer has taken the transactional id.
    pub fn is_fenced(self) -> bool {
        matches!(self, Self::INVALID_PRODUCER_EPOCH | Self::PRODUCER_FENCED)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("NONE"),
            Self::COORDINATOR_NOT_AVAILABLE => f.write_str("COORDINATOR_NOT_AVAILABLE"),
            Self::NOT_COORDINATOR => f.write_str("NOT_COORDINATOR"),
            Self::INVALID_PRODUCER_EPOCH => f.write_str("INVALID_PRODUCER_EPOCH"),
            Self::INVALID_TXN_STATE => f.write_str("INVALID_TXN_STATE"),
            Self::INVALID_PRODUCER_ID_MAPPING => f.write_str("INVALID_PRODUCER_ID_MAPPING"),
            Self::CONCURRENT_TRANSACTIONS => f.write_str("CONCURRENT_TRANSACTIONS"),
            Self::PRODUCER_FENCED => f.write_str("PRODUCER_FENCED"),
            Self(code) => write!(f, "error {code}"),
        }
    }
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    InitProducerId { transactional_id: Option<String>, timeout_ms: i32 },
    InitProducerIdAnswer { error: ErrorCode, producer_id: i64, producer_epoch: i16 },
    AddPartitionsToTxn { transactional_id: String, producer_epoch: i16, partitions: Vec<(String, i32)> },
    AddPartitionsToTxnAnswer { errors: PartitionErrors },
    Produce { transactional_id: Option<String>, partitions: Vec<(String, i32)> },
    ProduceAnswer { errors: PartitionErrors },
    EndTxn { transactional_id: String, producer_id: i64, producer_epoch: i16, commit: bool },
    EndTxnAnswer { error: ErrorCode },
}

impl Detail {
    pub(super) fn of(frame: &Frame) -> Option<Self> {
        let mut reader = Reader::new(&frame.bytes);
        let version = frame.version;
        match (frame.side, frame.api) {
            (Side::Request, Api::INIT_PRODUCER_ID) => init_producer_id(reader.after_request_head(version >= 2)?),
            (Side::Answer, Api::INIT_PRODUCER_ID) => {
                let mut body = reader.after_answer_head(version >= 2)?;
                let _throttle_ms = body.i32()?;
                let error = ErrorCode(body.i16()?);
                Some(Self::InitProducerIdAnswer { error, producer_id: body.i64()?, producer_epoch: body.i16()? })
            }
            (Side::Request, Api::ADD_PARTITIONS_TO_TXN) if version <= 3 => {
                let mut body = reader.after_request_head(version >= 3)?;
                let transactional_id = body.string()?;
                let _producer_id = body.i64()?;
                let producer_epoch = body.i16()?;
                let partitions = body.partitions(|body| body.i32())?;
                Some(Self::AddPartitionsToTxn { transactional_id, producer_epoch, partitions })
            }
            (Side::Answer, Api::ADD_PARTITIONS_TO_TXN) if version <= 3 => {
                let mut body = reader.after_answer_head(version >= 3)?;
                let _throttle_ms = body.i32()?;
                let errors = body.partitions(|body| {
                    let found = (body.i32()?, ErrorCode(body.i16()?));
                    body.tags()?;
                    Some(found)
                })?;
                Some(Self::AddPartitionsToTxnAnswer { errors: flat(errors) })
            }
            (Side::Request, Api::PRODUCE) if (3..=12).contains(&version) => {
                let mut body = reader.after_request_head(version >= 9)?;
                let transactional_id = body.nullable_string()?;
                let _acks = body.i16()?;
                let _timeout_ms = body.i32()?;
                let partitions = body.partitions(|body| {
                    let partition = body.i32()?;
                    body.skip_records()?;
                    body.tags()?;
                    Some(partition)
                })?;
                Some(Self::Produce { transactional_id, partitions })
            }
            (Side::Answer, Api::PRODUCE) if (8..=12).contains(&version) => {
                produce_answer(reader.after_answer_head(version >= 9)?)
            }
            (Side::Request, Api::END_TXN) => {
                let mut body = reader.after_request_head(version >= 3)?;
                let transactional_id = body.string()?;
                let (producer_id, producer_epoch) = (body.i64()?, body.i16()?);
                Some(Self::EndTxn { transactional_id, producer_id, producer_epoch, commit: body.i8()? != 0 })
            }
            (Side::Answer, Api::END_TXN) => {
                let mut body = reader.after_answer_head(version >= 3)?;
                let _throttle_ms = body.i32()?;
                Some(Self::EndTxnAnswer { error: ErrorCode(body.i16()?) })
            }
            _ => None,
        }
    }

    /// The error code of an answer: of several the first that is one.
    pub fn error(&self) -> Option<ErrorCode> {
        match self {
            Self::InitProducerIdAnswer { error, .. } | Self::EndTxnAnswer { error } => Some(*error),
            Self::AddPartitionsToTxnAnswer { errors } | Self::ProduceAnswer { errors } => {
                let first = errors.iter().map(|(_, _, error)| *error).find(|error| *error != ErrorCode::NONE);
                Some(first.unwrap_or(ErrorCode::NONE))
            }
            _ => None,
        }
    }

    /// Whether this is the end of a transaction that asks for its commit.
    pub fn is_commit(&self) -> bool {
        matches!(self, Self::EndTxn { commit: true, .. })
    }
}

fn init_producer_id(mut body: Reader<'_>) -> Option<Detail> {
    let transactional_id = body.nullable_string()?;
    Some(Detail::InitProducerId { transactional_id, timeout_ms: body.i32()? })
}

fn produce_answer(mut body: Reader<'_>) -> Option<Detail> {
    let errors = body.partitions(|body| {
        let found = (body.i32()?, ErrorCode(body.i16()?));
        let _base_offset_append_time_start_offset = (body.i64()?, body.i64()?, body.i64()?);
        for _ in 0..body.array_length()? {
            let _batch_index = body.i32()?;
            body.nullable_string()?;
            body.tags()?;
        }
        let _error_message = body.nullable_string()?;
        body.tags()?;
        Some(found)
    })?;
    Some(Detail::ProduceAnswer { errors: flat(errors) })
}

/// An error code for each partition of each topic.
pub type PartitionErrors = Vec<(String, i32, ErrorCode)>;

fn flat(errors: Vec<(String, (i32, ErrorCode))>) -> PartitionErrors {
    errors.into_iter().map(|(topic, (partition, error))| (topic, partition, error)).collect()
}

/// Reads the protocol's primitive types. `None` where the bytes end too early.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Compact lengths (varint, one too large) and tag buffers, as in the newer versions of each request.
    flexible: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, flexible: false }
    }

    fn after_request_head(&mut self, flexible: bool) -> Option<Reader<'a>> {
        self.take(8)?;
        // The client id is never compact, or old brokers could not answer that they do not know the version.
        self.nullable_string()?;
        self.body(flexible)
    }

    fn after_answer_head(&mut self, flexible: bool) -> Option<Reader<'a>> {
        self.take(4)?;
        self.body(flexible)
    }

    fn body(&self, flexible: bool) -> Option<Reader<'a>> {
        let mut body = Reader { rest: self.rest, flexible };
        body.tags()?;
        Some(body)
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn i8(&mut self) -> Option<i8> {
        self.take(1).map(|bytes| bytes[0] as i8)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.take(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take(8)?.try_into().ok().map(i64::from_be_bytes)
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..32).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn array_length(&mut self) -> Option<usize> {
        if self.flexible { self.varint()?.checked_sub(1) } else { self.i32()?.try_into().ok() }
    }

    pub(super) fn nullable_string(&mut self) -> Option<Option<String>> {
        let length = match self.flexible {
            true => self.varint()?.checked_sub(1),
            false => usize::try_from(self.i16()?).ok(),
        };
        match length {
            Some(length) => Some(Some(String::from_utf8_lossy(self.take(length)?).into_owned())),
            None => Some(None),
        }
    }

    fn string(&mut self) -> Option<String> {
        self.nullable_string()?
    }

    fn skip_records(&mut self) -> Option<()> {
        let length = match self.flexible {
            true => self.varint()?.checked_sub(1),
            false => usize::try_from(self.i32()?).ok(),
        };
        self.take(length.unwrap_or(0)).map(drop)
    }

    /// Skips a tag buffer, where this version has them.
    fn tags(&mut self) -> Option<()> {
        if self.flexible {
            for _ in 0..self.varint()? {
                let _tag = self.varint()?;
                let length = self.varint()?;
                self.take(length)?;
            }
        }
        Some(())
    }

    /// An array of topics, each with an array of partitions that `partition` reads.
    fn partitions<T>(&mut self, mut partition: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<(String, T)>> {
        let mut found = Vec::new();
        for _ in 0..self.array_length()? {
            let topic = self.string()?;
            for _ in 0..self.array_length()? {
                found.push((topic.clone(), partition(self)?));
            }
            self.tags()?;
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(side: Side, api: Api, version: i16, bytes: &[u8]) -> Frame {
        Frame { side, api, version, correlation: 7, client: "c".into(), bytes: bytes.to_vec() }
    }

    #[test]
    fn end_of_a_transaction_says_whether_it_commits() {
        let bytes = b"\0\x1a\0\x01\0\0\0\x07\0\x01c\0\x02id\0\0\0\0\0\0\0\x05\0\x03\x01";
        let parsed = Frame::request(bytes.to_vec()).unwrap();
        assert_eq!((parsed.api, parsed.version, parsed.correlation, parsed.client.as_str()), (Api::END_TXN, 1, 7, "c"));
        let detail = Detail::of(&parsed).unwrap();
        assert!(detail.is_commit());
        assert!(
            matches!(detail, Detail::EndTxn { transactional_id, producer_epoch: 3, .. } if transactional_id == "id")
        );
    }

    #[test]
    fn flexible_answer_is_read_behind_its_tag_buffer() {
        let bytes = b"\0\0\0\x07\0\0\0\0\0\0\x33\0\0\0\0\0\0\0\x09\0\x02\0";
        let detail = Detail::of(&frame(Side::Answer, Api::INIT_PRODUCER_ID, 4, bytes)).unwrap();
        assert_eq!(detail.error(), Some(ErrorCode::CONCURRENT_TRANSACTIONS));
        assert!(matches!(detail, Detail::InitProducerIdAnswer { producer_id: 9, producer_epoch: 2, .. }));
    }

    #[test]
    fn truncated_bytes_have_no_detail() {
        let bytes = b"\0\0\0\x07\0\0\0";
        assert_eq!(Detail::of(&frame(Side::Answer, Api::END_TXN, 1, bytes)), None);
    }
}
