//! What an operator says about itself, once, at check. Plain values that are stored beside the component.

use serde::{Deserialize, Serialize};

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
}
