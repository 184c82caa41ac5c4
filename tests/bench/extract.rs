//! How long it takes to find time and key in a record: `.ci/cargo bench --workspace --bench extract`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark measures time, and ends at the first surprise"
)]

use std::hint::black_box;
use std::time::Instant;

use weir_core::extract::Extractor;
use weir_core::graph::spec::Unit;
use weir_core::record::Column;
use weir_core::template::Template;

const RECORDS: u64 = 1_000;
const ROUNDS: u64 = 2_000;

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn main() {
    let cases = [
        (
            "ip-count, 2 pointers",
            r#"{"ip":"{{ip 100000}}","ts":{{time 1700000000000 0.01}},"path":"/a/{{int 0 99}}","status":200,"bytes":{{int 100 9999}}}"#,
            &["/ip"][..],
        ),
        (
            "ip-count, time last",
            r#"{"ip":"{{ip 100000}}","path":"/a/{{int 0 99}}","status":200,"bytes":{{int 100 9999}},"ts":{{time 1700000000000 0.01}}}"#,
            &["/ip"],
        ),
        (
            "escapes in the key",
            r#"{"ip":"a\u00e4\n{{ip 100000}}","ts":{{time 1700000000000 0.01}},"path":"/a/17","status":200,"bytes":5321}"#,
            &["/ip"],
        ),
        (
            "nested, 3 pointers",
            r#"{"user":{"id":{{int 1 99999}},"name":"someone"},"ts":{{time 1700000000000 10}},"tags":["a","b",{"c":1.5e3}],"ip":"{{ip}}"}"#,
            &["/user/id", "/ip"],
        ),
        ("long text, 1 KiB", r#"{"ip":"{{ip}}","ts":{{time 1700000000000 10}},"text":"{{hex 920}}"}"#, &["/ip"]),
    ];
    for (name, template, keys) in cases {
        let template = Template::compile(template).expect("the templates above compile");
        let mut values = Column::default();
        let started = Instant::now();
        for position in 0..RECORDS {
            template.render(7, position, &mut values.data);
            values.ends.push(values.data.len() as u32);
        }
        let rendering = started.elapsed();
        let mut extractor = Extractor::compile(Some(("/ts", Unit::Millis)), keys).expect("the pointers above compile");
        let mut columns = vec![Column::default(); keys.len()];
        // The best of many short rounds: what else runs on the machine does not count.
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            columns.iter_mut().for_each(Column::clear);
            let started = Instant::now();
            for value in values.iter() {
                black_box(extractor.extract(black_box(value), &mut columns)).expect("the values above are good");
            }
            best = best.min(started.elapsed().as_nanos() as f64 / RECORDS as f64);
        }
        let mut ignored = f64::MAX;
        for _ in 0..ROUNDS {
            let started = Instant::now();
            for value in values.iter().flatten() {
                black_box(serde_json::from_slice::<serde_json::Value>(black_box(value)))
                    .expect("the values above are JSON");
            }
            ignored = ignored.min(started.elapsed().as_nanos() as f64 / RECORDS as f64);
        }
        let bytes = values.data.len() as f64 / RECORDS as f64;
        println!(
            "{name:24} {bytes:6.0} bytes {best:7.1} ns/record {:5.2} GB/s  (serde_json, finding nothing: {ignored:.1} ns; rendered in {:.0} ns)",
            bytes / best,
            rendering.as_nanos() as f64 / RECORDS as f64
        );
    }
}
