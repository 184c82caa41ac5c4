//! What an operator says about itself, once, at check. Plain values that are stored beside the component.

use serde::{Deserialize, Serialize};

/// Metrics of one operator: each is a time series for every node that runs it.
const METRICS_MAX: usize = 64;

/// Name and value of something that this version of the contract has no field for.
pub(super) type Options = Vec<(String, String)>;

/// An input port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDecl {
    /// Name of the port.
    pub name: String,
    /// Columns wanted: `keys`, `values`.
    pub columns: Vec<String>,
    /// As in the contract.
    pub options: Options,
}

/// An output port. The first is what `inputs = ["node"]` means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputDecl {
    /// Name of the port.
    pub name: String,
    /// As in the contract.
    pub options: Options,
}

/// A state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDecl {
    /// Name, unique in the operator.
    pub name: String,
    /// `value`, `map`, `list` or `broadcast`.
    pub kind: String,
    /// Version of the schema of its bytes.
    pub version: u32,
    /// As in the contract.
    pub options: Options,
}

/// A metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricDecl {
    /// Name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// As in the contract.
    pub options: Options,
}

/// The answer of `describe`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Name of the operator.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Input ports.
    pub inputs: Vec<InputDecl>,
    /// Output ports.
    pub outputs: Vec<OutputDecl>,
    /// States.
    pub states: Vec<StateDecl>,
    /// Metrics.
    pub metrics: Vec<MetricDecl>,
    /// Callbacks that are called; what is not named is not called.
    pub callbacks: Vec<String>,
    /// JSON Schema of the configuration.
    pub config_schema: Option<String>,
    /// As in the contract.
    pub options: Options,
}

impl Descriptor {
    /// Whether this callback is to be called.
    pub fn calls(&self, callback: &str) -> bool {
        self.callbacks.iter().any(|c| c == callback)
    }

    /// Whether an input asks for this column.
    pub fn wants(&self, input: usize, column: &str) -> bool {
        self.inputs.get(input).is_some_and(|i| i.columns.iter().any(|c| c == column))
    }

    /// What it declares beyond this version, or against itself.
    pub(super) fn check(&self) -> Result<(), String> {
        let d = self;
        let refuse = |what: String| Err(what);
        if d.inputs.is_empty() {
            return refuse("no input".to_owned());
        }
        if d.outputs.is_empty() {
            return refuse("no output".to_owned());
        }
        for (what, names) in [
            ("input", d.inputs.iter().map(|i| &i.name).collect::<Vec<_>>()),
            ("output", d.outputs.iter().map(|o| &o.name).collect()),
            ("state", d.states.iter().map(|s| &s.name).collect()),
            ("metric", d.metrics.iter().map(|m| &m.name).collect()),
        ] {
            for (i, name) in names.iter().enumerate() {
                if let Err(e) = weir_core::ids::Name::new(name.as_str()) {
                    return refuse(format!("an {what} with a bad name: {e}"));
                }
                if names[..i].contains(name) {
                    return refuse(format!("two {what}s named `{name}`"));
                }
            }
        }
        for reserved in ["rejects", "dead-letter"] {
            if d.outputs.iter().any(|o| o.name == reserved) {
                return refuse(format!("an output named `{reserved}`, which is the host's"));
            }
        }
        for input in &d.inputs {
            for column in &input.columns {
                if !["keys", "values"].contains(&column.as_str()) {
                    return refuse(format!(
                        "column `{column}` of input `{}`; there are `keys` and `values`",
                        input.name
                    ));
                }
            }
        }
        for state in &d.states {
            match state.kind.as_str() {
                "value" | "map" => {}
                "list" | "broadcast" => {
                    return refuse(format!("the {} state `{}`, which comes later", state.kind, state.name));
                }
                kind => return refuse(format!("state `{}` of the unknown kind `{kind}`", state.name)),
            }
            if let Some((option, _)) = state.options.first() {
                return refuse(format!("option `{option}` of state `{}`, which comes later", state.name));
            }
        }
        if d.metrics.len() > METRICS_MAX {
            return refuse(format!("{} metrics; {METRICS_MAX} are allowed", d.metrics.len()));
        }
        for metric in &d.metrics {
            if !["counter", "gauge", "histogram"].contains(&metric.kind.as_str()) {
                return refuse(format!("metric `{}` of the unknown kind `{}`", metric.name, metric.kind));
            }
        }
        for callback in &d.callbacks {
            match callback.as_str() {
                "timers" | "watermark" | "end" | "close" | "migrate" => {}
                "processing-timers" => return refuse("the callback `processing-timers`, which comes later".to_owned()),
                other => return refuse(format!("the unknown callback `{other}`")),
            }
        }
        if let Some(schema) = &d.config_schema
            && let Err(e) = serde_json::from_str::<serde_json::Value>(schema)
        {
            return refuse(format!("a config schema that is not JSON: {e}"));
        }
        match d.options.first() {
            Some((option, _)) => refuse(format!("the option `{option}`, which this version does not know")),
            None => Ok(()),
        }
    }
}
