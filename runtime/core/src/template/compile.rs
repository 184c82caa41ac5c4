//! From the text of a template to its parts, with the place of what is wrong.

use std::ops::{Range, RangeInclusive};

use super::function::Function;
use super::zipf::Zipf;
use super::{Error, Part};
use crate::graph::nearest::nearest;

const FUNCTIONS: [&str; 7] = ["seq", "time", "int", "zipf", "ip", "pick", "hex"];

pub(super) fn template(text: &str) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let mut streams = 0..;
    let mut at = 0;
    while let Some(open) = text[at..].find("{{") {
        let open = at + open;
        push_text(&mut parts, &text[at..open]);
        let Some(close) = text[open..].find("}}") else {
            return Err(error(open..open + 2, "`{{` is never closed", "write {{FUNCTION ARGUMENTS}}"));
        };
        let close = open + close;
        let function = call(text, open + 2..close)?;
        parts.push(Part::Call {
            function, stream: streams.next().expect("a template has fewer than 2⁶⁴ functions")
        });
        at = close + 2;
    }
    push_text(&mut parts, &text[at..]);
    Ok(parts)
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.as_bytes().into()));
    }
}

fn error(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Error {
    Error { span, message: message.into(), help: help.into() }
}

fn call(text: &str, inner: Range<usize>) -> Result<Function, Error> {
    let mut words = words(text, inner.clone());
    if words.is_empty() {
        return Err(error(inner.start - 2..inner.end + 2, "`{{}}` names no function", all()));
    }
    let name = words.remove(0);
    let arguments = Arguments { text, name: name.clone(), words };
    match &text[name.clone()] {
        "seq" => arguments.seq(),
        "time" => arguments.time(),
        "int" => arguments.int(),
        "zipf" => arguments.zipf(),
        "ip" => arguments.ip(),
        "pick" => arguments.pick(inner),
        "hex" => arguments.hex(),
        unknown => {
            let close = nearest(unknown, &FUNCTIONS).map(|c| format!("did you mean `{c}`? ")).unwrap_or_default();
            Err(error(name, format!("there is no function `{unknown}`"), format!("{close}{}", all())))
        }
    }
}

fn all() -> String {
    format!("functions: {}", FUNCTIONS.join(", "))
}

fn words(text: &str, within: Range<usize>) -> Vec<Range<usize>> {
    // Where a word stands: slices of one string tell by their address.
    let place = |word: &str| {
        let at = word.as_ptr() as usize - text.as_ptr() as usize;
        at..at + word.len()
    };
    text[within].split_ascii_whitespace().map(place).collect()
}

struct Arguments<'t> {
    text: &'t str,
    name: Range<usize>,
    words: Vec<Range<usize>>,
}

impl Arguments<'_> {
    fn seq(&self) -> Result<Function, Error> {
        self.count(0..=2, "{{seq}}, {{seq START}} or {{seq START STEP}}")?;
        let all = i64::MIN..=i64::MAX;
        Ok(Function::Seq { start: self.integer(0, all.clone(), Some(0))?, step: self.integer(1, all, Some(1))? })
    }

    fn time(&self) -> Result<Function, Error> {
        self.count(2..=4, "{{time START STEP}}, {{time START STEP JITTER}} or {{time START STEP JITTER PERCENT}}")?;
        let (step, scale) = self.decimal(1)?;
        Ok(Function::Time {
            start: self.integer(0, i64::MIN..=i64::MAX, None)?,
            step,
            scale,
            jitter: self.integer(2, 0..=1 << 53, Some(0))? as u64,
            percent: self.integer(3, 0..=100, Some(100))? as u64,
        })
    }

    fn int(&self) -> Result<Function, Error> {
        self.count(2..=2, "{{int LOW HIGH}}")?;
        let low = self.integer(0, i64::MIN..=i64::MAX, None)?;
        let high = self.integer(1, low..=i64::MAX, None)?;
        Ok(Function::Int { low, span: high.abs_diff(low) })
    }

    fn zipf(&self) -> Result<Function, Error> {
        self.count(1..=1, "{{zipf N}}")?;
        Ok(Function::Zipf(Zipf::new(self.integer(0, 1..=1_000_000, None)? as u32)))
    }

    fn ip(&self) -> Result<Function, Error> {
        self.count(0..=1, "{{ip}} or {{ip N}}")?;
        Ok(Function::Ip { count: self.integer(0, 1..=1 << 24, Some(1 << 16))? as u64 })
    }

    fn hex(&self) -> Result<Function, Error> {
        self.count(1..=1, "{{hex N}}")?;
        Ok(Function::Hex { digits: self.integer(0, 1..=1024, None)? as usize })
    }

    /// Words may hold spaces, so they are what stands between the bars.
    fn pick(&self, inner: Range<usize>) -> Result<Function, Error> {
        let words = self.text[self.name.end..inner.end].trim();
        if words.is_empty() {
            return Err(error(self.name.clone(), "`pick` has nothing to pick from", "write {{pick A|B|C}}"));
        }
        Ok(Function::Pick(words.split('|').map(|word| word.as_bytes().into()).collect()))
    }

    fn count(&self, allowed: RangeInclusive<usize>, shape: &str) -> Result<(), Error> {
        if allowed.contains(&self.words.len()) {
            return Ok(());
        }
        let span = match self.words.get(*allowed.end()) {
            Some(first_too_many) => first_too_many.start..self.words[self.words.len() - 1].end,
            None => self.name.clone(),
        };
        let message = format!("`{}` has {} arguments", &self.text[self.name.clone()], self.words.len());
        Err(error(span, message, format!("write {shape}")))
    }

    fn integer(&self, index: usize, range: RangeInclusive<i64>, default: Option<i64>) -> Result<i64, Error> {
        let Some(span) = self.words.get(index) else {
            return Ok(default.expect("`count` has let through only what has its arguments"));
        };
        let word = &self.text[span.clone()];
        let number: Option<i64> = word.parse().ok();
        let legal = number.filter(|n| range.contains(n));
        legal.ok_or_else(|| {
            let help = format!("a whole number from {} to {}", range.start(), range.end());
            error(span.clone(), format!("`{word}` is not a number that fits here"), help)
        })
    }

    /// A decimal number as (n, scale): n / scale.
    fn decimal(&self, index: usize) -> Result<(i64, i64), Error> {
        let span = self.words[index].clone();
        let word = &self.text[span.clone()];
        let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let number =
            digits.parse().ok().filter(|_| fraction.len() <= 9 && whole.ends_with(|c: char| c.is_ascii_digit()));
        let scale = 10i64.checked_pow(fraction.len() as u32);
        number.zip(scale).ok_or_else(|| {
            let help = "a number with at most nine digits behind the point: 10, 0.05";
            error(span, format!("`{word}` is not a number that fits here"), help)
        })
    }
}
