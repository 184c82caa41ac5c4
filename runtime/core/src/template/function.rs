//! What each function of a template writes.

use super::Draw;
use super::zipf::Zipf;

#[derive(Debug, Clone)]
pub(super) enum Function {
    Seq {
        start: i64,
        step: i64,
    },
    /// STEP is `step / scale`.
    Time {
        start: i64,
        step: i64,
        scale: i64,
        jitter: u64,
        percent: u64,
    },
    Int {
        low: i64,
        span: u64,
    },
    Zipf(Zipf),
    Ip {
        count: u64,
    },
    Pick(Box<[Box<[u8]>]>),
    Hex {
        digits: usize,
    },
}

impl Function {
    pub(super) fn render(&self, draw: Draw, out: &mut Vec<u8>) {
        match self {
            Function::Seq { start, step } => write_integer(along(*start, *step, 1, draw.position), out),
            Function::Time { start, step, scale, jitter, percent } => {
                let time = along(*start, *step, *scale, draw.position);
                let is_delayed = *jitter > 0 && (*percent == 100 || draw.below(1, 100) < *percent);
                let delay = if is_delayed { draw.below(0, jitter + 1) } else { 0 };
                write_integer(time.saturating_sub_unsigned(delay), out);
            }
            Function::Int { low, span } => {
                // `span` is HIGH − LOW, so LOW + offset stays within i64.
                let offset = if *span == u64::MAX { draw.bits(0) } else { draw.below(0, span + 1) };
                write_integer(low.wrapping_add_unsigned(offset), out);
            }
            Function::Zipf(zipf) => write_integer(i64::from(zipf.pick(draw.bits(0))), out),
            Function::Ip { count } => write_ip(draw.below(0, *count) as u32, out),
            Function::Pick(words) => out.extend_from_slice(&words[draw.below(0, words.len() as u64) as usize]),
            Function::Hex { digits } => write_hex(draw, *digits, out),
        }
    }
}

/// start + position × step / scale, rounded down, at the bound where it does not fit.
fn along(start: i64, step: i64, scale: i64, position: u64) -> i64 {
    let offset = (i128::from(position) * i128::from(step)).div_euclid(i128::from(scale));
    let sum = i128::from(start) + offset;
    sum.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn write_integer(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

fn write_ip(index: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"10");
    for byte in &index.to_be_bytes()[1..] {
        out.push(b'.');
        write_integer(i64::from(*byte), out);
    }
}

fn write_hex(draw: Draw, digits: usize, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for digit in 0..digits {
        let bits = draw.bits((digit / 16) as u64) >> (digit % 16 * 4);
        out.push(HEX[(bits & 15) as usize]);
    }
}
