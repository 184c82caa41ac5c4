//! All pointers of an extractor as one tree of names, so that one pass over a value serves them all.

use super::cursor::Found;
use super::{Pointer, decode};

/// The most nodes that a tree can have: one bit each in the set of names seen.
const NODES_MAX: usize = 64;

/// Where the walk over a value stands in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(u8);

/// The whole value.
pub(super) const ROOT: NodeId = NodeId(0);

#[derive(Debug, Clone, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    children: Vec<Child>,
    /// The pointers that end here.
    wanted: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Child {
    name: Box<[u8]>,
    /// Its first eight bytes, zeros behind: most names are told apart by this and their length alone.
    head: u64,
    /// The name as an index of an array, where it is one.
    index: Option<u64>,
    node: NodeId,
}

impl Trie {
    /// `None`: more names than fit.
    pub(super) fn new<'p>(pointers: impl Iterator<Item = &'p Pointer>) -> Option<Trie> {
        let mut trie = Trie { nodes: vec![Node::default()] };
        for (number, pointer) in pointers.enumerate() {
            let mut at = ROOT;
            for token in pointer.tokens() {
                at = trie.child(at, token)?;
            }
            trie.nodes[at.0 as usize].wanted.push(u8::try_from(number).ok()?);
        }
        Some(trie)
    }

    fn child(&mut self, parent: NodeId, token: &str) -> Option<NodeId> {
        let children = &self.nodes[parent.0 as usize].children;
        if let Some(known) = children.iter().find(|c| *c.name == *token.as_bytes()) {
            return Some(known.node);
        }
        if self.nodes.len() == NODES_MAX {
            return None;
        }
        let node = NodeId(self.nodes.len() as u8);
        self.nodes.push(Node::default());
        let child = Child {
            name: token.as_bytes().into(),
            head: head(token.as_bytes(), 0, token.len()),
            index: array_index(token),
            node,
        };
        self.nodes[parent.0 as usize].children.push(child);
        Some(node)
    }

    /// The child with this name, which has no escapes in it.
    #[inline]
    pub(super) fn by_name(&self, node: NodeId, value: &[u8], name: Found) -> Option<NodeId> {
        let text = name.text(value);
        let head = head(value, name.start(), text.len());
        let is_it = |c: &&Child| c.head == head && c.name.len() == text.len() && (text.len() <= 8 || *c.name == *text);
        self.nodes[node.0 as usize].children.iter().find(is_it).map(|c| c.node)
    }

    /// The child whose name this stands for, escapes and all.
    pub(super) fn by_decoded_name(&self, node: NodeId, text: &[u8]) -> Option<NodeId> {
        self.nodes[node.0 as usize].children.iter().find(|c| decode::is_name(text, &c.name)).map(|c| c.node)
    }

    /// The child for this item of an array.
    #[inline]
    pub(super) fn by_index(&self, node: NodeId, index: u64) -> Option<NodeId> {
        self.nodes[node.0 as usize].children.iter().find(|c| c.index == Some(index)).map(|c| c.node)
    }

    /// Whether a pointer goes on below this node.
    #[inline]
    pub(super) fn has_children(&self, node: NodeId) -> bool {
        !self.nodes[node.0 as usize].children.is_empty()
    }

    /// The pointers that end at this node.
    #[inline]
    pub(super) fn wanted(&self, node: NodeId) -> &[u8] {
        &self.nodes[node.0 as usize].wanted
    }
}

impl NodeId {
    /// The bit that says that this name was seen.
    #[inline]
    pub(super) fn bit(self) -> u64 {
        1 << self.0
    }
}

/// The first eight bytes of a name, zeros behind it.
#[inline]
fn head(value: &[u8], start: usize, length: usize) -> u64 {
    match value[start..].first_chunk::<8>() {
        // The bytes behind the name are there, as a rule, and masked away.
        Some(eight) if length < 8 => u64::from_le_bytes(*eight) & !(u64::MAX << (length * 8)),
        Some(eight) => u64::from_le_bytes(*eight),
        None => value[start..start + length].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// RFC 6901: digits without leading zeros.
fn array_index(token: &str) -> Option<u64> {
    let legal = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    if legal { token.parse().ok() } else { None }
}
