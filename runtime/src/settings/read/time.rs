//! `event_time` and `watermark` of a source.

use weir_core::graph::spec::{EventTime, Unit, WatermarkSettings};

use super::Reader;
use super::field::Field;

const SHAPE: &str = "write { json = \"/ts\", unit = \"ms\" } or { kafka = \"timestamp\" }";

pub(super) fn event_time(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<EventTime> {
    let mut table = field.table(reader)?;
    let json = table.field("json");
    let unit = table.field("unit");
    let kafka = table.field("kafka");
    let time = match (&json, &kafka) {
        (Some(json), None) => {
            let unit = unit.and_then(|f| f.choice(reader, &UNITS)).unwrap_or_default();
            json.text(reader).map(|pointer| EventTime::Json { pointer: pointer.to_string(), unit })
        }
        (None, Some(kafka)) => {
            if let Some(unit) = unit {
                unit.report_invalid(reader, "a Kafka timestamp is in milliseconds".to_string(), "take `unit` out");
            }
            kafka.choice(reader, &[("timestamp", Some(()))]).map(|()| EventTime::KafkaTimestamp)
        }
        (Some(_), Some(_)) => {
            field.report_invalid(reader, "`event_time` names both json and kafka".to_string(), SHAPE);
            None
        }
        (None, None) => {
            field.report_invalid(reader, "`event_time` says neither json nor kafka".to_string(), SHAPE);
            None
        }
    };
    table.finish(reader);
    time
}

const UNITS: [(&str, Option<Unit>); 4] =
    [("s", Some(Unit::Seconds)), ("ms", Some(Unit::Millis)), ("us", Some(Unit::Micros)), ("ns", Some(Unit::Nanos))];

pub(super) fn watermark(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<WatermarkSettings> {
    let mut settings = WatermarkSettings::default();
    let mut table = field.table(reader)?;
    table.set(reader, "out_of_order", Field::duration, &mut settings.out_of_order);
    table.set(reader, "idle_after", idle_after, &mut settings.idle_after);
    table.set(reader, "tick", Field::duration, &mut settings.tick);
    table.finish(reader);
    Some(settings)
}

/// A duration, or "never".
fn idle_after(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Option<std::time::Duration>> {
    if field.shown() == "never" { Some(None) } else { field.duration(reader).map(Some) }
}
