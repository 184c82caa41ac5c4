//! What `weir inspect` prints about a component, and an upload answers. Plain values, made once at load.

use serde::Serialize;

use super::descriptor::Descriptor;
use super::structure::Surface;
use super::wasi;

/// What `weir inspect` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Name that `describe` gave.
    pub name: String,
    /// Version that `describe` gave.
    pub version: String,
    /// [`CONTRACT`](super::CONTRACT) in the version that the component was built on.
    pub contract: String,
    /// sha256 of the bytes, lower-case hex.
    pub sha256: String,
    /// Size.
    pub bytes: usize,
    /// Ports, inputs first.
    pub ports: Vec<Port>,
    /// States.
    pub states: Vec<State>,
    /// Callbacks that are called.
    pub callbacks: Vec<String>,
    /// JSON Schema of its configuration, where it declares one.
    pub config_schema: Option<serde_json::Value>,
    /// Interfaces that it imports: its capabilities.
    pub imports: Vec<String>,
    /// What whoever runs it should know.
    pub warnings: Vec<String>,
}

/// A port of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Name.
    pub name: String,
    /// `in` or `out`.
    pub direction: &'static str,
}

/// A state of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: String,
    /// Version of its schema.
    pub schema_version: u32,
}

impl Inspection {
    pub(super) fn new(d: &Descriptor, surface: Surface, sha256: String, bytes: usize) -> Inspection {
        let inputs = d.inputs.iter().map(|i| Port { name: i.name.clone(), direction: "in" });
        let outputs = d.outputs.iter().map(|o| Port { name: o.name.clone(), direction: "out" });
        let version = surface.guest.rsplit_once('@').map_or("0.1.0", |(_, version)| version);
        Inspection {
            name: d.name.clone(),
            version: d.version.clone(),
            contract: format!("weir:operator@{version}"),
            sha256,
            bytes,
            ports: inputs.chain(outputs).collect(),
            states: (d.states.iter())
                .map(|s| State { name: s.name.clone(), kind: s.kind.clone(), schema_version: s.version })
                .collect(),
            callbacks: d.callbacks.clone(),
            // Looked at before: what is no JSON is refused.
            config_schema: d.config_schema.as_deref().and_then(|schema| serde_json::from_str(schema).ok()),
            warnings: wasi::warnings(&surface.imports),
            imports: surface.imports,
        }
    }
}
