//! The bytes of `CURRENT`: JSON with a version first and a check last. Writes nothing.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use weir_core::checkpoint::commit::{Claim, Commit};
use weir_core::ids::Token;
use weir_core::key_group::hash;

use crate::connector::Error;

/// The version that this build writes, and the newest that it reads.
pub(super) const VERSION: u32 = 1;

/// The file without its check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) token: Token,
    pub(super) claim: Option<Claim>,
    pub(super) commit: Option<Commit>,
}

/// Read before anything else of the file is.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The bytes and what they say; `None` where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<(Vec<u8>, Record)>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::Transient(format!("reading {} failed: {e}", path.display()))),
    };
    let record = decode(&bytes).map_err(|detail| halt(path, &detail))?;
    Ok(Some((bytes, record)))
}

pub(super) fn halt(path: &Path, detail: &str) -> Error {
    Error::Halt(format!("{} {detail}; nothing was changed", path.display()))
}

const CHECK: &str = ",\"check\":\"";

/// The JSON, with the xxh3 of all before it as its last field: a flipped bit must not become another epoch.
pub(super) fn encode(record: &Record) -> Result<Vec<u8>, Error> {
    let mut text =
        serde_json::to_string(record).map_err(|e| Error::Transient(format!("encoding CURRENT failed: {e}")))?;
    text.pop();
    let check = hash(text.as_bytes());
    text.push_str(&format!("{CHECK}{check:016x}\"}}\n"));
    Ok(text.into_bytes())
}

fn decode(bytes: &[u8]) -> Result<Record, String> {
    let damaged = |detail: &str| format!("is damaged: {detail}");
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    if let Ok(Version { version }) = serde_json::from_str(text)
        && version > VERSION
    {
        return Err(format!("has format {version}, this weir reads up to {VERSION}: use the newer weir that wrote it"));
    }
    let (record, check) = text.rsplit_once(CHECK).ok_or_else(|| damaged("its check is missing"))?;
    if check != format!("{:016x}\"}}\n", hash(record.as_bytes())) {
        return Err(damaged("its check does not fit its content"));
    }
    serde_json::from_str(text).map_err(|e| damaged(&e.to_string()))
}
