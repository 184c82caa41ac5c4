//! A component that passed the checks: compiled, described, ready to be instantiated. Owns the order of the checks, each of
//! which is a module of its own. Runs no records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime::component::{ComponentExportIndex, InstancePre};

use super::bindings::DescriptorOut;
use super::call::Failure;
use super::descriptor::Descriptor;
use super::engine::Engine;
use super::imports;
use super::inspection::Inspection;
use super::refused::RefusedComponent;
use super::store::{Data, call_once, describe_store, typecheck};
use super::structure::{check_structure, shown_list};
use super::wasi;
use crate::hex;

pub(super) struct ExportIndices {
    pub(super) open: ComponentExportIndex,
    pub(super) process: ComponentExportIndex,
    pub(super) on_timers: ComponentExportIndex,
    pub(super) on_watermark: ComponentExportIndex,
    pub(super) on_end: ComponentExportIndex,
    pub(super) migrate: ComponentExportIndex,
    pub(super) close: ComponentExportIndex,
}

pub(super) struct Loaded {
    engine: Engine,
    pre: InstancePre<Data>,
    exports: ExportIndices,
    descriptor: Descriptor,
    inspection: Inspection,
}

/// Components in use, by digest: whoever runs the same one shares its native code.
#[derive(Default)]
pub(super) struct InUse(Mutex<HashMap<String, Weak<Loaded>>>);

impl InUse {
    fn get(&self, sha256: &str) -> Option<Operator> {
        let in_use = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.get(sha256).and_then(Weak::upgrade).map(Operator)
    }

    fn add(&self, operator: &Operator) {
        let mut in_use = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|_, loaded| loaded.strong_count() > 0);
        in_use.insert(operator.inspection().sha256.clone(), Arc::downgrade(&operator.0));
    }
}

/// A cheap handle to a checked, compiled component.
#[derive(Clone)]
pub struct Operator(Arc<Loaded>);

impl Operator {
    /// Checks, compiles and describes, unless it is in use.
    pub fn load(engine: &Engine, bytes: &[u8]) -> Result<Operator, RefusedComponent> {
        let sha256 = hex::sha256(bytes);
        if let Some(operator) = engine.in_use().get(&sha256) {
            return Ok(operator);
        }
        let surface = check_structure(bytes)?;
        let component = engine.compile(&sha256, bytes)?;
        let wrong_type = |e: wasmtime::Error| RefusedComponent::WrongType(format!("{e:#}"));
        let mut linker = imports::linker(engine).map_err(wrong_type)?;
        wasi::link(&mut linker, &component, engine).map_err(wrong_type)?;
        let pre = linker.instantiate_pre(&component).map_err(wrong_type)?;
        let mut store = describe_store(engine, &sha256);
        let instance = pre.instantiate(&mut store).map_err(wrong_type)?;
        let guest = (instance.get_export_index(&mut store, None, &surface.guest))
            .ok_or_else(|| RefusedComponent::NotAnOperator(shown_list(&surface.exports)))?;
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
        descriptor.check().map_err(RefusedComponent::Declares)?;
        let inspection = Inspection::new(&descriptor, surface, sha256, bytes.len());
        let operator = Operator(Arc::new(Loaded { engine: engine.clone(), pre, exports, descriptor, inspection }));
        engine.in_use().add(&operator);
        Ok(operator)
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
