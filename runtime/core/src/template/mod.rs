//! The template of the generator source: text with functions in it, each a pure function of (seed, position). Owns the
//! functions and their bits; what position is next, and at what rate, is the source's.
//!
//! | function | gives |
//! |---|---|
//! | `{{seq}}`, `{{seq START}}`, `{{seq START STEP}}` | START + position × STEP; 0 and 1 where not given |
//! | `{{time START STEP}}` | START + position × STEP; STEP may be a fraction: `0.05` is 20 records a millisecond |
//! | `{{time START STEP JITTER}}` | the same, earlier by 0 to JITTER, evenly: event times out of order |
//! | `{{time START STEP JITTER PERCENT}}` | the same, for PERCENT of the records; the others are on time |
//! | `{{int LOW HIGH}}` | a whole number from LOW to HIGH, both included, evenly |
//! | `{{zipf N}}` | 1 to N, k with a weight of 1/k |
//! | `{{ip N}}` | one of N addresses from 10.0.0.0 on, evenly; 65536 where N is not given |
//! | `{{pick A\|B\|C}}` | one of the words, evenly |
//! | `{{hex N}}` | N hex digits |
//!
//! Each use draws from a stream of its own, numbered in the order of the text. What a template gives for a (seed, position)
//! never changes: a pipeline that is restored by a newer weir must read the same records again.

mod compile;
mod function;
#[cfg(test)]
mod tests;
mod zipf;

use std::ops::Range;

use function::Function;

/// A compiled template.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(Box<[u8]>),
    Call {
        function: Function,
        /// Number of the stream that it draws from.
        stream: u64,
    },
}

/// A template that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The place in the template, bytes.
    pub span: Range<usize>,
    /// What is wrong there.
    pub message: String,
    /// What to write.
    pub help: String,
}

impl Template {
    /// Reads a template.
    pub fn compile(text: &str) -> Result<Template, Error> {
        compile::template(text).map(|parts| Template { parts })
    }

    /// Appends the record at this position. Allocates nothing but what `out` grows by.
    pub fn render(&self, seed: u64, position: u64, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Call { function, stream } => function.render(Draw { seed, position, stream: *stream }, out),
            }
        }
    }
}

/// Where a function draws from.
#[derive(Debug, Clone, Copy)]
struct Draw {
    seed: u64,
    position: u64,
    stream: u64,
}

impl Draw {
    /// The `index`-th number of this stream at this position.
    #[inline]
    fn bits(self, index: u64) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let stream = mix(self.seed ^ mix(self.stream.wrapping_add(1).wrapping_mul(GOLDEN)));
        mix(stream ^ mix(self.position.wrapping_mul(GOLDEN).wrapping_add(index)))
    }

    /// A number below `n`, evenly (to within 2⁻⁶⁴ × n).
    #[inline]
    fn below(self, index: u64, n: u64) -> u64 {
        ((u128::from(self.bits(index)) * u128::from(n)) >> 64) as u64
    }
}

/// The finalizer of SplitMix64.
#[inline]
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
