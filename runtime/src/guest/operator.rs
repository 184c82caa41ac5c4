//! A component that passed the checks: what it is, what it imports, what it declares, ready to be instantiated. Owns the
//! structural check (before the compiler sees a byte) and the call of `describe`. Runs no records.

use std::sync::Arc;

use serde::Serialize;
use wasmparser::{Encoding, Parser, Payload};
use wasmtime::component::{ComponentExportIndex, InstancePre};

use super::bindings::DescriptorOut;
use super::descriptor::Descriptor;
use super::engine::Engine;
use super::instance::{Data, call_once, describe_store, typecheck};
use super::{call::Failure, imports};
use crate::hex;

/// The contract's package and version that this host speaks.
pub const CONTRACT: &str = "weir:operator@0.1.0";
/// Bytes of a component.
pub const SIZE_MAX: usize = 32 << 20;
/// Nested components, and core instances over all nesting: a kilobyte of nested components can cost 700 MB of compiler.
const NESTING_MAX: usize = 8;
const INSTANCES_MAX: usize = 64;

/// Why a component is refused. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum RefusedComponent {
    /// Over [`SIZE_MAX`].
    #[error("the component has {bytes} bytes; the limit is {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Neither magic number.
    #[error("this is not WebAssembly: it starts with {0}")]
    NotWasm(String),
    /// A core module.
    #[error("this is a core WebAssembly module, not a component; build it with `weir build`")]
    CoreModule,
    /// Broken.
    #[error("the component is damaged: {0}")]
    Damaged(String),
    /// Too deep, too many.
    #[error("the component nests or instantiates too much: {0}")]
    TooComplex(String),
    /// The contract's package in another version.
    #[error("the component speaks {found}; this weir speaks {CONTRACT}: rebuild it with weir-sdk 0.1")]
    WrongVersion {
        /// Import or export that gave it away.
        found: String,
    },
    /// Something outside the contract.
    #[error("the component imports `{0}`, which no operator may: it may import {CONTRACT} and nothing else")]
    ForbiddenImport(String),
    /// It does not export the guest interface.
    #[error("the component exports no weir:operator/guest@0.1.0; it exports: {0}")]
    NotAnOperator(String),
    /// An import or export has another type than the contract says.
    #[error("the component does not fit {CONTRACT}: {0}")]
    WrongType(String),
    /// `describe` failed.
    #[error("`describe` failed: {0}")]
    Describe(String),
    /// Declares what a later version brings, or contradicts itself.
    #[error("the operator declares {0}")]
    Declares(String),
}

/// What `weir inspect` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Name that `describe` gave.
    pub name: String,
    /// Version that `describe` gave.
    pub version: String,
    /// [`CONTRACT`] in the version that the component was built on.
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
    /// Interfaces that it imports: its capabilities.
    pub imports: Vec<String>,
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

pub(super) struct ExportIndices {
    pub(super) open: ComponentExportIndex,
    pub(super) process: ComponentExportIndex,
    pub(super) on_timers: ComponentExportIndex,
    pub(super) on_watermark: ComponentExportIndex,
    pub(super) on_end: ComponentExportIndex,
    pub(super) migrate: ComponentExportIndex,
    pub(super) close: ComponentExportIndex,
}

struct Loaded {
    engine: Engine,
    pre: InstancePre<Data>,
    exports: ExportIndices,
    descriptor: Descriptor,
    inspection: Inspection,
}

/// A cheap handle to a checked, compiled component.
#[derive(Clone)]
pub struct Operator(Arc<Loaded>);

impl Operator {
    /// Checks, compiles and describes.
    pub fn load(engine: &Engine, bytes: &[u8]) -> Result<Operator, RefusedComponent> {
        let surface = check_structure(bytes)?;
        let component = engine.compile(bytes).map_err(|e| RefusedComponent::Damaged(format!("{e:#}")))?;
        let wrong_type = |e: wasmtime::Error| RefusedComponent::WrongType(format!("{e:#}"));
        let linker = imports::linker(engine).map_err(wrong_type)?;
        let pre = linker.instantiate_pre(&component).map_err(wrong_type)?;
        let mut store = describe_store(engine);
        let instance = pre.instantiate(&mut store).map_err(wrong_type)?;
        let guest = (instance.get_export_index(&mut store, None, &surface.guest))
            .ok_or_else(|| RefusedComponent::NotAnOperator(surface.exports.join(", ")))?;
        let mut index = |name: &str| {
            (instance.get_export_index(&mut store, Some(&guest), name))
                .ok_or_else(|| RefusedComponent::WrongType(format!("{} lacks `{name}`", surface.guest)))
        };
        let describe = index("describe")?;
        let exports = ExportIndices {
            open: index("open")?,
            process: index("process")?,
            on_timers: index("on-timers")?,
            on_watermark: index("on-watermark")?,
            on_end: index("on-end")?,
            migrate: index("migrate")?,
            close: index("close")?,
        };
        typecheck(&mut store, &instance, &exports).map_err(wrong_type)?;
        let described: DescriptorOut = call_once(&mut store, &instance, &describe)
            .map_err(|failure: Failure| RefusedComponent::Describe(failure.message))?;
        let descriptor = Descriptor::from(described);
        check_descriptor(&descriptor)?;
        let inspection = inspect(&descriptor, bytes, surface);
        Ok(Operator(Arc::new(Loaded { engine: engine.clone(), pre, exports, descriptor, inspection })))
    }

    /// What `describe` answered.
    pub fn descriptor(&self) -> &Descriptor {
        &self.0.descriptor
    }

    /// What `weir inspect` prints.
    pub fn inspection(&self) -> &Inspection {
        &self.0.inspection
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(super) fn exports(&self) -> &ExportIndices {
        &self.0.exports
    }

    pub(super) fn instantiate(
        &self,
        store: &mut wasmtime::Store<Data>,
    ) -> wasmtime::Result<wasmtime::component::Instance> {
        self.0.pre.instantiate(store)
    }
}

/// What a component shows to the outside.
struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
    /// Full name of the guest interface.
    guest: String,
}

/// Everything that can be known without compiling.
fn check_structure(bytes: &[u8]) -> Result<Surface, RefusedComponent> {
    if bytes.len() > SIZE_MAX {
        return Err(RefusedComponent::TooLarge { bytes: bytes.len(), max: SIZE_MAX });
    }
    if !bytes.starts_with(b"\0asm") {
        let head: Vec<String> = bytes.iter().take(4).map(|b| hex::encode(&[*b])).collect();
        let head = if head.is_empty() { "nothing".to_owned() } else { head.join(" ") };
        return Err(RefusedComponent::NotWasm(head));
    }
    if Parser::is_core_wasm(bytes) {
        return Err(RefusedComponent::CoreModule);
    }
    let damaged = |e: wasmparser::BinaryReaderError| RefusedComponent::Damaged(e.to_string());
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    // One entry per open nesting: how many instances one copy of it makes, and its components' own counts.
    let mut nesting: Vec<(usize, Vec<usize>)> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(damaged)? {
            Payload::Version { encoding: Encoding::Component, .. } => nesting.push((0, Vec::new())),
            Payload::Version { encoding: Encoding::Module, .. } => nesting.push((0, Vec::new())),
            Payload::ComponentImportSection(section) if nesting.len() == 1 => {
                for import in section {
                    imports.push(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if nesting.len() == 1 => {
                for export in section {
                    exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::InstanceSection(section) => {
                if let Some((instances, _)) = nesting.last_mut() {
                    *instances += section.count() as usize;
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if let wasmparser::ComponentInstance::Instantiate { component_index, .. } =
                        instance.map_err(damaged)?
                        && let Some((instances, components)) = nesting.last_mut()
                    {
                        let copies = components.get(component_index as usize).copied().unwrap_or(1);
                        *instances = instances.saturating_add(copies.max(1));
                    }
                }
            }
            Payload::End(_) => {
                if let Some((instances, _)) = nesting.pop() {
                    if instances > INSTANCES_MAX {
                        return Err(RefusedComponent::TooComplex(format!(
                            "{instances} instances, allowed are {INSTANCES_MAX}"
                        )));
                    }
                    if let Some((_, components)) = nesting.last_mut() {
                        components.push(instances);
                    }
                }
            }
            _ => {}
        }
        if nesting.len() > NESTING_MAX {
            return Err(RefusedComponent::TooComplex(format!("more than {NESTING_MAX} levels")));
        }
    }
    let guest = check_names(&imports, &exports)?;
    Ok(Surface { imports, exports, guest })
}

/// Imports only from the contract, in a version that this host speaks; the guest interface among the exports.
fn check_names(imports: &[String], exports: &[String]) -> Result<String, RefusedComponent> {
    for name in imports {
        match name.strip_prefix("weir:operator/") {
            None => return Err(RefusedComponent::ForbiddenImport(name.clone())),
            Some(rest) if !spoken(rest) => return Err(RefusedComponent::WrongVersion { found: name.clone() }),
            Some(_) => {}
        }
    }
    match exports.iter().find(|e| e.starts_with("weir:operator/guest@")) {
        None => {
            let list = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
            Err(RefusedComponent::NotAnOperator(list))
        }
        Some(guest) if !spoken(guest) => Err(RefusedComponent::WrongVersion { found: guest.clone() }),
        Some(guest) => Ok(guest.clone()),
    }
}

/// Whether `name@version` has a version of the contract that this host speaks: 0.1, any patch.
fn spoken(name: &str) -> bool {
    name.rsplit_once('@').is_some_and(|(_, version)| version.starts_with("0.1."))
}

fn check_descriptor(d: &Descriptor) -> Result<(), RefusedComponent> {
    let refuse = |what: String| Err(RefusedComponent::Declares(what));
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
                return refuse(format!("column `{column}` of input `{}`; there are `keys` and `values`", input.name));
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

fn inspect(d: &Descriptor, bytes: &[u8], surface: Surface) -> Inspection {
    let inputs = d.inputs.iter().map(|i| Port { name: i.name.clone(), direction: "in" });
    let outputs = d.outputs.iter().map(|o| Port { name: o.name.clone(), direction: "out" });
    let version = surface.guest.rsplit_once('@').map_or("0.1.0", |(_, version)| version);
    Inspection {
        name: d.name.clone(),
        version: d.version.clone(),
        contract: format!("weir:operator@{version}"),
        sha256: hex::sha256(bytes),
        bytes: bytes.len(),
        ports: inputs.chain(outputs).collect(),
        states: (d.states.iter())
            .map(|s| State { name: s.name.clone(), kind: s.kind.clone(), schema_version: s.version })
            .collect(),
        callbacks: d.callbacks.clone(),
        imports: surface.imports,
    }
}
