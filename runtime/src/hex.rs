//! Lower-case hex, as it stands in names and records: of bytes, of sha256 digests, of random bits.

use std::fs::File;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

/// Two digits a byte.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}

/// sha256 of some bytes.
pub fn sha256(bytes: &[u8]) -> String {
    encode(&Sha256::digest(bytes))
}

/// sha256 of all that is left of a file, and how many bytes that was.
pub fn sha256_of(file: &mut File) -> io::Result<(String, u64)> {
    copy_hashed(file, &mut io::sink())
}

/// Copies all that is left of `from`, and says its sha256 and how many bytes that was.
pub fn copy_hashed(from: &mut impl Read, to: &mut impl Write) -> io::Result<(String, u64)> {
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 128 << 10]);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok((encode(&hasher.finalize()), bytes)),
            read => {
                hasher.update(&buffer[..read]);
                to.write_all(&buffer[..read])?;
                bytes += read as u64;
            }
        }
    }
}

/// `8 * N` random bits that nobody can guess.
pub fn random<const N: usize>() -> io::Result<String> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_digests_are_written_in_lower_case() {
        assert_eq!(encode(&[0, 0x0a, 0xff]), "000aff");
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_file_has_the_digest_of_its_bytes() {
        let bytes = vec![7; 300_000];
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(sha256_of(&mut file.reopen().unwrap()).unwrap(), (sha256(&bytes), 300_000));
    }

    #[test]
    fn no_two_random_ids_are_equal() {
        let id = random::<16>().unwrap();
        assert_eq!(id.len(), 32);
        assert_ne!(id, random::<16>().unwrap());
    }
}
