//! 128 bits that tell states apart. Owns the mixing; not for anything but tests.

use std::hash::Hasher;

/// Two multiplicative hashes side by side. Fast, and good enough for a few million states.
pub(crate) struct Fingerprint(u64, u64);

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        Fingerprint(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344)
    }
}

impl Fingerprint {
    pub(crate) fn both(&self) -> u128 {
        (u128::from(self.0) << 64) | u128::from(self.1)
    }

    fn mix(&mut self, word: u64) {
        let first = u128::from(self.0 ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        let second = u128::from(self.1.rotate_left(23) ^ word) * u128::from(0xd1b5_4a32_d192_ed03_u64);
        self.0 = first as u64 ^ (first >> 64) as u64 ^ 0x2545_f491_4f6c_dd1d;
        self.1 = second as u64 ^ (second >> 64) as u64 ^ 0x9fb2_1c65_1e98_df25;
    }
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56);
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.mix(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        self.1
    }
}
