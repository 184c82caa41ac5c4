//! What an operator says about itself. Called once, at check; the host stores the answer with the component.

use crate::output::Port;
use crate::state::{MapState, ValueState};

/// Names, ports, states and callbacks of an operator. The order in which ports and states are added is their index in the
/// contract, so constants such as `const LATE: Port = Port::new(1, "late")` must be added in the order of their numbers;
/// anything else panics here, which a build notices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptor {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) inputs: Vec<InputDecl>,
    pub(crate) outputs: Vec<OutputDecl>,
    pub(crate) states: Vec<StateDecl>,
    pub(crate) metrics: Vec<MetricDecl>,
    pub(crate) callbacks: Vec<&'static str>,
    pub(crate) config_schema: Option<String>,
    pub(crate) options: Options,
}

pub(crate) type Options = Vec<(String, String)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputDecl {
    pub(crate) name: String,
    pub(crate) columns: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputDecl {
    pub(crate) name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateDecl {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) version: u32,
    pub(crate) options: Options,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetricDecl {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
}

impl Descriptor {
    /// An operator without ports. Name as in `[a-z][a-z0-9_-]*`, version in semver.
    pub fn new(name: &str, version: &str) -> Descriptor {
        Descriptor { name: name.into(), version: version.into(), ..Descriptor::default() }
    }

    /// An input, with the columns that it reads: [`KEYS`](crate::KEYS), [`VALUES`](crate::VALUES). What is not asked for
    /// does not cross the boundary.
    pub fn input(mut self, name: &str, columns: &[&'static str]) -> Descriptor {
        self.inputs.push(InputDecl { name: name.into(), columns: columns.to_vec() });
        self
    }

    /// An output. The first one is what `inputs = ["node"]` means in a pipeline file.
    pub fn output(mut self, port: Port) -> Descriptor {
        in_order("output", port.name, port.index, self.outputs.len());
        self.outputs.push(OutputDecl { name: port.name.into() });
        self
    }

    /// One value per key.
    pub fn value_state<T>(self, state: ValueState<T>) -> Descriptor {
        self.state("value", state.index, state.name, state.version, state.ttl)
    }

    /// A map per key.
    pub fn map_state<F, V>(self, state: MapState<F, V>) -> Descriptor {
        self.state("map", state.index, state.name, state.version, state.ttl)
    }

    fn state(mut self, kind: &'static str, index: u32, name: &str, version: u32, ttl: Option<&str>) -> Descriptor {
        in_order("state", name, index, self.states.len());
        let options = ttl.map(|ttl| ("ttl".to_owned(), ttl.to_owned())).into_iter().collect();
        self.states.push(StateDecl { name: name.into(), kind, version, options });
        self
    }

    /// A metric; kind is "counter", "gauge" or "histogram".
    pub fn metric(mut self, metric: crate::Metric) -> Descriptor {
        in_order("metric", metric.name, metric.index, self.metrics.len());
        self.metrics.push(MetricDecl { name: metric.name.into(), kind: metric.kind });
        self
    }

    /// Wants `on_timer` for timers of event time.
    pub fn timers(self) -> Descriptor {
        self.callback("timers")
    }

    /// Wants `on_timer` for timers of processing time.
    pub fn processing_timers(self) -> Descriptor {
        self.callback("processing-timers")
    }

    /// Wants `on_watermark`.
    pub fn watermarks(self) -> Descriptor {
        self.callback("watermark")
    }

    /// Wants `on_end`.
    pub fn end(self) -> Descriptor {
        self.callback("end")
    }

    /// Wants `migrate` for values of older schema versions. Without it a state whose version is raised is refused.
    pub fn migrates(self) -> Descriptor {
        self.callback("migrate")
    }

    /// Wants `close`.
    pub fn closes(self) -> Descriptor {
        self.callback("close")
    }

    fn callback(mut self, name: &'static str) -> Descriptor {
        self.callbacks.push(name);
        self
    }

    /// JSON Schema of the configuration; the host checks `config = { … }` of the pipeline file against it.
    pub fn config_schema(mut self, schema: &str) -> Descriptor {
        self.config_schema = Some(schema.into());
        self
    }

    /// An option of the contract. A host refuses a name that it does not know.
    pub fn option(mut self, name: &str, value: &str) -> Descriptor {
        self.options.push((name.into(), value.into()));
        self
    }
}

fn in_order(what: &str, name: &str, index: u32, place: usize) {
    assert!(
        index as usize == place,
        "{what} `{name}` has the number {index} and is declared at place {place}: number them in the order of the descriptor"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "output `late` has the number 1 and is declared at place 0")]
    fn a_port_that_is_declared_out_of_order_is_refused_at_the_build() {
        let _ = Descriptor::new("a", "0.1.0").output(Port::new(1, "late"));
    }
}
