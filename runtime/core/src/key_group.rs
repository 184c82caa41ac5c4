//! Which key group a key belongs to: the unit in which keyed state moves between subtasks. Golden: never changes.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// Key groups of a pipeline, fixed in its first manifest.
pub const KEY_GROUPS: u16 = 128;

/// A key group, `0..KEY_GROUPS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(pub u16);

/// The hash of a key that everything derives from: xxh3, 64 bits, seed 0.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

impl KeyGroup {
    /// Bits 40 to 46 of the key's hash. Not the low or top bits: hash tables use those, and within one subtask they would
    /// be equal for all keys.
    #[inline]
    pub fn of_hash(hash: u64) -> KeyGroup {
        KeyGroup(((hash >> 40) & u64::from(KEY_GROUPS - 1)) as u16)
    }

    /// The subtask that owns this group at this parallelism.
    #[inline]
    pub fn owner(self, parallelism: u32) -> u32 {
        u32::from(self.0) * parallelism / u32::from(KEY_GROUPS)
    }

    /// The groups that `subtask` owns at this parallelism.
    pub fn range(subtask: u32, parallelism: u32) -> Range<u16> {
        let first = |s: u32| (s * u32::from(KEY_GROUPS)).div_ceil(parallelism) as u16;
        first(subtask)..first(subtask + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_groups_are_pinned_for_ever() {
        let cases: [(&[u8], u64, u16); 3] = [
            (b"", 0x2d06_8005_38d3_94c2, 0),
            (b"10.0.0.1", 0xb61d_99f8_e56b_6646, 25),
            (b"a", 0xe6c6_32b6_1e96_4e1f, 0x32),
        ];
        for (key, expected, group) in cases {
            assert_eq!(hash(key), expected, "{key:?}");
            assert_eq!(KeyGroup::of_hash(expected).0, group, "{key:?}");
        }
    }

    #[test]
    fn every_group_has_one_owner_and_ranges_agree_with_it() {
        for parallelism in 1..=128 {
            for subtask in 0..parallelism {
                for group in KeyGroup::range(subtask, parallelism) {
                    assert_eq!(KeyGroup(group).owner(parallelism), subtask);
                }
            }
            assert_eq!(KeyGroup::range(parallelism - 1, parallelism).end, KEY_GROUPS);
        }
    }
}
