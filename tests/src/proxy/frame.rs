//! One length-prefixed frame of Kafka's protocol and the head of a request. What is inside is `decode`'s.

use std::fmt;
use std::io::{self, Read, Write};

/// The largest frame that is believed. A broker refuses requests over 100 MiB.
const FRAME_BYTES_MAX: usize = 128 << 20;

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// From the client to the broker.
    Request,
    /// From the broker to the client.
    Answer,
}

/// The kind of a request, and of its answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Api(pub i16);

impl Api {
    pub const PRODUCE: Api = Api(0);
    pub const FETCH: Api = Api(1);
    pub const METADATA: Api = Api(3);
    pub const FIND_COORDINATOR: Api = Api(10);
    pub const API_VERSIONS: Api = Api(18);
    pub const INIT_PRODUCER_ID: Api = Api(22);
    pub const ADD_PARTITIONS_TO_TXN: Api = Api(24);
    pub const END_TXN: Api = Api(26);
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Api::PRODUCE => f.write_str("Produce"),
            Api::FETCH => f.write_str("Fetch"),
            Api::METADATA => f.write_str("Metadata"),
            Api::FIND_COORDINATOR => f.write_str("FindCoordinator"),
            Api::API_VERSIONS => f.write_str("ApiVersions"),
            Api::INIT_PRODUCER_ID => f.write_str("InitProducerId"),
            Api::ADD_PARTITIONS_TO_TXN => f.write_str("AddPartitionsToTxn"),
            Api::END_TXN => f.write_str("EndTxn"),
            Api(key) => write!(f, "Api({key})"),
        }
    }
}

/// A request or an answer, whole, with what its head says. An answer has the kind and client of its request.
#[derive(Debug, Clone)]
pub struct Frame {
    pub side: Side,
    pub api: Api,
    pub version: i16,
    pub correlation: i32,
    pub client: String,
    /// After the length prefix.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// Reads the head: api key i16, version i16, correlation id i32, client id (nullable string).
    pub(super) fn request(bytes: Vec<u8>) -> io::Result<Self> {
        let mut reader = super::decode::Reader::new(&bytes);
        let head = (|| Some((reader.i16()?, reader.i16()?, reader.i32()?, reader.nullable_string()?)))();
        let (api, version, correlation, client) =
            head.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a request without a head"))?;
        let client = client.unwrap_or_default();
        Ok(Self { side: Side::Request, api: Api(api), version, correlation, client, bytes })
    }
}

/// The correlation id, with which every answer begins.
pub(super) fn answer_correlation(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().map(|id| i32::from_be_bytes(*id))
}

/// The next frame, or `None` where the stream ends.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// Writes a frame with its length.
pub(super) fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).expect("frames are far below 4 GiB");
    to.write_all(&length.to_be_bytes())?;
    to.write_all(bytes)
}
