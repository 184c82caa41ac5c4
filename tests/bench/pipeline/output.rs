//! Whether the committed output is right: a fast wrong answer is no figure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use weir::connector::kafka::{Cluster, KafkaSource, SourceSettings, Topics, Until};
use weir::connector::{Polled, Source};
use weir_core::record::Batch;
use weir_tests::kafka::Broker;

/// Every window of every key once, and the counts of all add up to the input. Returns the number of rows.
pub(crate) fn check_counts(broker: &Broker, topic: &str, records: u64) -> u64 {
    let mut windows: HashMap<(Vec<u8>, i64), u64> = HashMap::new();
    each(broker, topic, |batch, slot| {
        let row: serde_json::Value = serde_json::from_slice(batch.values.get(slot).unwrap()).unwrap();
        let window = (batch.keys.get(slot).unwrap().to_vec(), row["window_start"].as_i64().unwrap());
        let other = windows.insert(window, row["count"].as_u64().unwrap());
        assert!(other.is_none(), "a window came twice: {row}");
    });
    assert_eq!(windows.values().sum::<u64>(), records, "the counts add up to the input");
    windows.len() as u64
}

pub(crate) fn check_copy(broker: &Broker, topic: &str, records: u64) {
    let mut rows = 0;
    each(broker, topic, |_, _| rows += 1);
    assert_eq!(rows, records, "every record was passed on once");
}

fn each(broker: &Broker, topic: &str, mut row: impl FnMut(&Batch, usize)) {
    let topics = Topics::Named(vec![topic.to_owned()]);
    let settings = SourceSettings {
        until: Some(Until::Latest),
        ..SourceSettings::new(Cluster::at(broker.brokers().to_owned()), topic, topics)
    };
    let thread = std::thread::current();
    let mut source = KafkaSource::open(&settings, None, Arc::new(move || thread.unpark())).unwrap();
    let mut batch = Batch::default();
    loop {
        batch.clear();
        match source.poll(&mut batch).unwrap() {
            Polled::Rows => (0..batch.len()).for_each(|slot| row(&batch, slot)),
            Polled::Empty => std::thread::park_timeout(Duration::from_millis(100)),
            Polled::Later(wait) => std::thread::park_timeout(wait),
            Polled::Grown | Polled::SplitEnded(_) => {}
            Polled::Ended => break,
        }
    }
}
