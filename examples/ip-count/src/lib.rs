//! Counts records per key in tumbling windows of event time. A window fires when the watermark passes its end; a record
//! that comes later, within the lateness, fires it again with the higher count; one beyond that goes to the port `late`.
//! State is one short list of open windows per key. Never reads the value of a record.

use weir_sdk::{
    Config, Context, Descriptor, Due, Failure, Items, KEYS, Operator, Port, Record, Task, ValueState, json,
};

const OUT: Port = Port::new(0, "out");
const LATE: Port = Port::new(1, "late");
/// The open windows of a key, in the order in which they were opened.
const WINDOWS: ValueState<Items<Window>> = ValueState::new(0, "windows");

/// With its length, so that a new configuration leaves the windows alone that are open.
#[derive(Clone, Copy)]
struct Window {
    start: i64,
    length: i64,
    count: u64,
}

weir_sdk::compact!(Window { start, length, count });

struct IpCount {
    window: i64,
    lateness: i64,
}

weir_sdk::export!(IpCount);

impl Operator for IpCount {
    fn descriptor() -> Descriptor {
        Descriptor::new("ip-count", env!("CARGO_PKG_VERSION"))
            .input("requests", &[KEYS])
            .output(OUT)
            .output(LATE)
            .value_state(WINDOWS)
            .timers()
            .config_schema(include_str!("../config.schema.json"))
    }

    fn open(config: &Config, _: &Task) -> Result<IpCount, Failure> {
        let window = config.duration("window", "5s")?;
        if window < 1 {
            return Err(Failure::fatal("config", "`window` must be longer than nothing"));
        }
        Ok(IpCount { window, lateness: config.duration("lateness", "5s")? })
    }

    fn process(&mut self, record: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let watermark = ctx.watermark();
        let start = record.time().saturating_sub(record.time().rem_euclid(self.window));
        let new = Window { start, length: self.window, count: 0 };
        if self.gone(&new) <= watermark {
            ctx.forward(LATE);
            return Ok(());
        }
        let windows = ctx.value(WINDOWS).or_default();
        let open = windows.iter().position(|window| (window.start, window.length) == (new.start, new.length));
        let at = open.unwrap_or_else(|| {
            windows.push(new);
            windows.len() - 1
        });
        windows[at].count += 1;
        let window = windows[at];
        let fired = window.last() <= watermark;
        if fired {
            emit(ctx, record.key(), &window);
        }
        if open.is_none() {
            ctx.set_timer(if fired { self.gone(&window) } else { window.last() }, 0);
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: &Due<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let windows = ctx.value(WINDOWS).or_default();
        let fired = windows.iter().find(|window| window.last() == timer.time()).copied();
        windows.retain(|window| self.gone(window) > timer.time());
        // Of the windows that stay, those that have fired wait for their late records.
        let waiting = windows.iter().filter(|window| window.last() <= timer.time());
        let gone = waiting.map(|window| self.gone(window)).min();
        if windows.is_empty() {
            ctx.value(WINDOWS).clear();
        }
        if let Some(window) = fired {
            emit(ctx, timer.key(), &window);
        }
        if let Some(time) = gone {
            ctx.set_timer(time, 0);
        }
        Ok(())
    }
}

impl IpCount {
    /// The watermark at which a window goes: a record for it is too late from there on.
    fn gone(&self, window: &Window) -> i64 {
        window.last().saturating_add(self.lateness)
    }
}

impl Window {
    fn end(&self) -> i64 {
        self.start.saturating_add(self.length)
    }

    /// The last time in it: it fires when the watermark is there.
    fn last(&self) -> i64 {
        self.end() - 1
    }
}

fn emit(ctx: &mut Context, key: &[u8], window: &Window) {
    ctx.emit(OUT).time(window.last()).key(key).value_with(|out| {
        out.extend_from_slice(b"{\"ip\":");
        json::string(out, key);
        out.extend_from_slice(b",\"window_start\":");
        json::integer(out, window.start);
        out.extend_from_slice(b",\"window_end\":");
        json::integer(out, window.end());
        out.extend_from_slice(b",\"count\":");
        json::integer(out, window.count as i64);
        out.push(b'}');
    });
}

#[cfg(test)]
mod tests;
