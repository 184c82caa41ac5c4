//! The contract's records as wasmtime lowers and lifts them. Hand-written rather than generated: `bindgen!` gives a `Vec`
//! for every list, and a column must be read in place. `wit/operator.wit` decides; instantiation checks every type.

use wasmtime::component::{ComponentType, Lift, Lower, WasmList};

use super::descriptor;

/// A column on its way into the guest, borrowed.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct ColumnIn<'a> {
    pub(super) ends: &'a [u32],
    pub(super) data: &'a [u8],
}

/// A column that answers an import.
#[derive(ComponentType, Lower, Default)]
#[component(record)]
pub(super) struct ColumnAnswer {
    pub(super) ends: Vec<u32>,
    pub(super) data: Vec<u8>,
}

/// A column in guest memory, valid during the import that brought it.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct ColumnRef {
    pub(super) ends: WasmList<u32>,
    pub(super) data: WasmList<u8>,
}

/// A column that a guest returned: copied, because post-return has freed it.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct ColumnOwned {
    pub(super) ends: Vec<u32>,
    pub(super) data: Vec<u8>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct BatchIn<'a> {
    pub(super) input: u32,
    pub(super) ords: &'a [u32],
    pub(super) times: &'a [i64],
    pub(super) keys: ColumnIn<'a>,
    pub(super) values: ColumnIn<'a>,
}

#[derive(ComponentType, Lower, Lift, Clone, Copy, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
pub(super) enum Domain {
    #[component(name = "event")]
    Event,
    #[component(name = "processing")]
    #[expect(dead_code, reason = "a guest may name it: it is lifted, never made here")]
    Processing,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct DueIn<'a> {
    pub(super) domain: Domain,
    pub(super) ords: &'a [u32],
    pub(super) times: &'a [i64],
    pub(super) tags: &'a [u64],
    pub(super) keys: ColumnIn<'a>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct RowsRef {
    pub(super) slots: WasmList<u32>,
    pub(super) times: WasmList<i64>,
    pub(super) keys: ColumnRef,
    pub(super) values: ColumnRef,
    pub(super) headers: ColumnRef,
    pub(super) partitions: WasmList<u32>,
}

#[derive(ComponentType, Lift, Clone, Copy, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
pub(super) enum FailureKind {
    #[component(name = "retry")]
    Retry,
    #[component(name = "fatal")]
    #[expect(dead_code, reason = "a guest returns it: it is lifted, never made here")]
    Fatal,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct FailureOut {
    pub(super) kind: FailureKind,
    pub(super) slot: Option<u32>,
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct TaskIn<'a> {
    pub(super) pipeline: &'a str,
    pub(super) node: &'a str,
    pub(super) subtask: u32,
    pub(super) parallelism: u32,
    pub(super) options: &'a [(&'a str, &'a str)],
}

#[derive(ComponentType, Lower, Lift, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[component(enum)]
#[repr(u8)]
pub(super) enum LogLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

#[derive(ComponentType, Lower, Default)]
#[component(record)]
pub(super) struct PageAnswer {
    pub(super) fields: ColumnAnswer,
    pub(super) values: ColumnAnswer,
    pub(super) more: bool,
}

type Options = Vec<(String, String)>;

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct InputDeclOut {
    name: String,
    columns: Vec<String>,
    options: Options,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct OutputDeclOut {
    name: String,
    options: Options,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct StateDeclOut {
    name: String,
    kind: String,
    version: u32,
    options: Options,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct MetricDeclOut {
    name: String,
    kind: String,
    options: Options,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct DescriptorOut {
    name: String,
    version: String,
    inputs: Vec<InputDeclOut>,
    outputs: Vec<OutputDeclOut>,
    states: Vec<StateDeclOut>,
    metrics: Vec<MetricDeclOut>,
    callbacks: Vec<String>,
    #[component(name = "config-schema")]
    config_schema: Option<String>,
    options: Options,
}

impl From<DescriptorOut> for descriptor::Descriptor {
    fn from(d: DescriptorOut) -> descriptor::Descriptor {
        descriptor::Descriptor {
            name: d.name,
            version: d.version,
            inputs: (d.inputs.into_iter())
                .map(|i| descriptor::InputDecl { name: i.name, columns: i.columns, options: i.options })
                .collect(),
            outputs: (d.outputs.into_iter())
                .map(|o| descriptor::OutputDecl { name: o.name, options: o.options })
                .collect(),
            states: (d.states.into_iter())
                .map(|s| descriptor::StateDecl { name: s.name, kind: s.kind, version: s.version, options: s.options })
                .collect(),
            metrics: (d.metrics.into_iter())
                .map(|m| descriptor::MetricDecl { name: m.name, kind: m.kind, options: m.options })
                .collect(),
            callbacks: d.callbacks,
            config_schema: d.config_schema,
            options: d.options,
        }
    }
}
