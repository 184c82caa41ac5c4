//! Byte strings that are too long to lie inline: numbered blocks that are used again with their memory.

/// Blocks, and the numbers of free ones.
#[derive(Debug, Default)]
pub(super) struct Heap {
    blocks: Vec<Vec<u8>>,
    free: Vec<u32>,
    bytes: usize,
}

/// A free block keeps its memory up to this size.
const KEPT: usize = 4096;

impl Heap {
    pub(super) fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.blocks.push(Vec::new());
            self.blocks.len() as u32 - 1
        });
        let block = &mut self.blocks[at as usize];
        self.bytes -= block.capacity();
        block.extend_from_slice(bytes);
        self.bytes += block.capacity();
        at
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> &[u8] {
        &self.blocks[at as usize]
    }

    pub(super) fn free(&mut self, at: u32) {
        let block = &mut self.blocks[at as usize];
        if block.capacity() > KEPT {
            self.bytes -= block.capacity();
            *block = Vec::new();
        } else {
            block.clear();
        }
        self.free.push(at);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.blocks.capacity() * size_of::<Vec<u8>>() + self.free.capacity() * 4
    }
}
