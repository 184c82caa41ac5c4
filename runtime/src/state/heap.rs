//! Byte strings that are too long to lie inline, by number. Short ones lie one behind the other in one array, so that a look
//! at one costs one line of memory and none costs an allocation of its own; a place that is free again is given to the next
//! one of its size.

use super::array::Array;

/// Places are so many bytes long, or a multiple of it.
const UNIT: usize = 16;
/// The length of a string stands in front of it.
const HEAD: usize = 4;
/// Strings that take more units than this have memory of their own.
const UNITS_MAX: usize = 64;
/// Marks the number of one that has.
const LARGE: u32 = 1 << 31;
/// No place.
const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Heap {
    units: Array<[u8; UNIT]>,
    /// By how many units it has, the free place that was left last; the one before stands in it.
    free: [u32; UNITS_MAX + 1],
    large: Large,
    held: usize,
}

impl Default for Heap {
    fn default() -> Heap {
        Heap { units: Array::new(), free: [NONE; UNITS_MAX + 1], large: Large::default(), held: 0 }
    }
}

impl Heap {
    pub(super) fn put(&mut self, bytes: &[u8]) -> u32 {
        let units = units(bytes.len());
        let Some(at) = self.place(units) else { return self.large.put(bytes) | LARGE };
        let place = self.units[at as usize..at as usize + units].as_flattened_mut();
        place[..HEAD].copy_from_slice(&(bytes.len() as u32).to_ne_bytes());
        place[HEAD..HEAD + bytes.len()].copy_from_slice(bytes);
        self.held += units * UNIT;
        at
    }

    /// A place of so many units; `None` where it has to be memory of its own.
    fn place(&mut self, units: usize) -> Option<u32> {
        let free = self.free.get_mut(units)?;
        if *free != NONE {
            let at = *free;
            *free = word(&self.units[at as usize]);
            return Some(at);
        }
        let at = self.units.len();
        self.units.cover(at + units, || [0; UNIT]);
        u32::try_from(at).ok().filter(|at| at & LARGE == 0)
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> &[u8] {
        if at & LARGE != 0 {
            return self.large.get(at & !LARGE);
        }
        let at = at as usize;
        let len = word(&self.units[at]) as usize;
        &self.units[at..at + units(len)].as_flattened()[HEAD..HEAD + len]
    }

    pub(super) fn free(&mut self, at: u32) {
        if at & LARGE != 0 {
            return self.large.free(at & !LARGE);
        }
        let units = units(word(&self.units[at as usize]) as usize);
        self.units[at as usize][..HEAD].copy_from_slice(&self.free[units].to_ne_bytes());
        self.free[units] = at;
        self.held -= units * UNIT;
    }

    /// Memory of the strings that are held now.
    pub(super) fn held(&self) -> usize {
        self.held + self.large.bytes
    }

    /// All memory.
    pub(super) fn bytes(&self) -> usize {
        self.units.capacity() * UNIT + self.large.bytes
    }
}

fn units(len: usize) -> usize {
    (HEAD + len).div_ceil(UNIT)
}

#[inline]
fn word(unit: &[u8; UNIT]) -> u32 {
    u32::from_ne_bytes([unit[0], unit[1], unit[2], unit[3]])
}

/// Those with memory of their own, and the numbers of free ones.
#[derive(Debug, Default)]
struct Large {
    blocks: Vec<Vec<u8>>,
    free: Vec<u32>,
    bytes: usize,
}

/// A free one keeps its memory up to this size.
const KEPT: usize = 4096;

impl Large {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.blocks.push(Vec::new());
            self.blocks.len() as u32 - 1
        });
        let block = &mut self.blocks[at as usize];
        block.extend_from_slice(bytes);
        self.bytes += block.capacity();
        at
    }

    fn get(&self, at: u32) -> &[u8] {
        &self.blocks[at as usize]
    }

    fn free(&mut self, at: u32) {
        let block = &mut self.blocks[at as usize];
        self.bytes -= block.capacity();
        block.clear();
        if block.capacity() > KEPT {
            *block = Vec::new();
        }
        self.free.push(at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_string_is_what_was_put_whatever_came_and_went_between(
            steps in prop::collection::vec((0usize..1500, any::<u8>(), any::<Option<u8>>()), 1..200)
        ) {
            let (mut heap, mut there) = (Heap::default(), Vec::<(u32, Vec<u8>)>::new());
            for (len, byte, freed) in steps {
                if let Some(freed) = freed.filter(|_| !there.is_empty()) {
                    let (at, _) = there.swap_remove(freed as usize % there.len());
                    heap.free(at);
                }
                there.push((heap.put(&vec![byte; len]), vec![byte; len]));
                prop_assert!(there.iter().all(|(at, bytes)| heap.get(*at) == bytes));
            }
            there.iter().for_each(|(at, _)| heap.free(*at));
            prop_assert_eq!(heap.held(), 0);
        }
    }

    #[test]
    fn a_free_place_is_given_to_the_next_of_its_size() {
        let mut heap = Heap::default();
        let (first, second) = (heap.put(&[1; 40]), heap.put(&[2; 40]));
        heap.free(first);
        heap.free(second);
        assert_eq!((heap.put(&[3; 44]), heap.put(&[4; 37])), (second, first));
        assert_eq!(heap.units.len(), 6);
    }
}
