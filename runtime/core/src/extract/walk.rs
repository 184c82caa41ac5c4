//! One pass over a value along the tree of pointers. Looks into what a pointer leads through, skips everything else, and
//! checks all of it.

use super::cursor::{Cursor, Found, Kind};
use super::trie::{NodeId, ROOT, Trie};
use super::{Broken, DEPTH_MAX, Error};

/// Notes in `found` what each pointer leads to.
#[inline]
pub(super) fn value(value: &[u8], trie: &Trie, found: &mut [Found]) -> Result<(), Error> {
    let mut walk = Walk { cursor: Cursor::new(value), bytes: value, trie, found, seen: 0 };
    let result = walk.visit(Some(ROOT), 0).and_then(|()| walk.cursor.end());
    result.map_err(|what| Error::Broken { offset: walk.cursor.offset(), what })
}

struct Walk<'v, 't, 'f> {
    cursor: Cursor<'v>,
    bytes: &'v [u8],
    trie: &'t Trie,
    found: &'f mut [Found],
    /// A bit for each node of the tree whose name came up. The first one of a name counts.
    seen: u64,
}

impl Walk<'_, '_, '_> {
    /// Takes a value. `node` is where a pointer leads to or through, `None` where none does. Recursion follows the pointers,
    /// so it is as deep as those.
    #[inline(always)]
    fn visit(&mut self, node: Option<NodeId>, depth: usize) -> Result<(), Broken> {
        let first = self.cursor.peek()?;
        let found = match first {
            b'"' => self.cursor.string()?,
            b'{' | b'[' => self.container(first, node, depth)?,
            _ => self.cursor.scalar(first)?,
        };
        for wanted in node.map_or(&[][..], |node| self.trie.wanted(node)) {
            self.found[*wanted as usize] = found;
        }
        Ok(())
    }

    fn container(&mut self, first: u8, node: Option<NodeId>, depth: usize) -> Result<Found, Broken> {
        match node.filter(|node| self.trie.has_children(*node)) {
            None => self.cursor.skip(depth),
            Some(_) if depth == DEPTH_MAX => Err(Broken::Depth),
            Some(node) if first == b'{' => self.object(node, depth + 1),
            Some(node) => self.array(node, depth + 1),
        }
    }

    fn object(&mut self, node: NodeId, depth: usize) -> Result<Found, Broken> {
        self.cursor.take();
        let mut next = self.cursor.peek()?;
        if next == b'}' {
            self.cursor.take();
            return Ok(Found::without_text(Kind::Object));
        }
        loop {
            if next != b'"' {
                return Err(Broken::Name);
            }
            let name = self.cursor.string()?;
            self.cursor.expect(b':', Broken::Colon)?;
            let child = self.child(node, name);
            self.visit(child, depth)?;
            match self.cursor.peek()? {
                b',' => self.cursor.take(),
                b'}' => break,
                _ => return Err(Broken::Separator),
            }
            next = self.cursor.peek()?;
        }
        self.cursor.take();
        Ok(Found::without_text(Kind::Object))
    }

    fn array(&mut self, node: NodeId, depth: usize) -> Result<Found, Broken> {
        self.cursor.take();
        if self.cursor.peek()? == b']' {
            self.cursor.take();
            return Ok(Found::without_text(Kind::Array));
        }
        for index in 0.. {
            self.visit(self.trie.by_index(node, index), depth)?;
            match self.cursor.peek()? {
                b',' => self.cursor.take(),
                b']' => break,
                _ => return Err(Broken::Separator),
            }
        }
        self.cursor.take();
        Ok(Found::without_text(Kind::Array))
    }

    /// The node of a member, unless its name has come up in this object before.
    #[inline(always)]
    fn child(&mut self, node: NodeId, name: Found) -> Option<NodeId> {
        let child = match name.kind {
            Kind::Escaped => self.trie.by_decoded_name(node, name.text(self.bytes))?,
            _ => self.trie.by_name(node, self.bytes, name)?,
        };
        if self.seen & child.bit() != 0 {
            return None;
        }
        self.seen |= child.bit();
        Some(child)
    }
}
