//! How deep a component nests, and how many instances it makes of what is written in it once: counted along the nesting,
//! from the inside out. Knows neither names nor sizes.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Encoding,
    Payload,
};

use super::damaged;
use crate::guest::refused::RefusedComponent;

/// Nested components, and core instances over all nesting: a kilobyte of nested components can cost 700 MB of compiler.
const NESTING_MAX: usize = 8;
const INSTANCES_MAX: usize = 64;

/// Open components and modules, from the outermost in, and what one copy of each costs.
#[derive(Default)]
pub(super) struct Nesting(Vec<Level>);

struct Level {
    is_component: bool,
    /// Instances that one copy of it makes.
    instances: usize,
    /// The same of each component that it can name, by index. `None`: what is imported, or comes out of an instance, and is
    /// made known only where it is instantiated.
    components: Vec<Option<usize>>,
}

impl Nesting {
    /// Whether what comes next stands in the outermost component itself.
    pub(super) fn is_outermost(&self) -> bool {
        self.0.len() == 1
    }

    /// Takes note of what comes next.
    pub(super) fn charge(&mut self, payload: &Payload<'_>) -> Result<(), RefusedComponent> {
        match payload {
            Payload::Version { encoding, .. } => return self.open(*encoding == Encoding::Component),
            Payload::End(_) => return self.close(),
            _ => {}
        }
        let Some(level) = self.0.last_mut() else { return Ok(()) };
        match payload {
            Payload::InstanceSection(section) => {
                level.instances = level.instances.saturating_add(section.count() as usize);
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance.map_err(damaged)? {
                        let copy = level.components.get(component_index as usize).copied().flatten();
                        let copy = copy.ok_or_else(|| {
                            let what = format!("an instance of component {component_index}, whose size is not known");
                            RefusedComponent::TooComplex(what)
                        })?;
                        level.instances = level.instances.saturating_add(copy.max(1));
                    }
                }
            }
            // The three ways by which a component gets an index without being written there.
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    if let ComponentTypeRef::Component(_) = import.map_err(damaged)?.ty {
                        level.components.push(None);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export.map_err(damaged)?;
                    if export.kind == ComponentExternalKind::Component {
                        level.components.push(level.components.get(export.index as usize).copied().flatten());
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias.map_err(damaged)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        let component = match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => None,
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                let outer = self.0.iter().rev().nth(*count as usize);
                outer.and_then(|outer| outer.components.get(*index as usize).copied().flatten())
            }
            _ => return,
        };
        if let Some(level) = self.0.last_mut() {
            level.components.push(component);
        }
    }

    fn open(&mut self, is_component: bool) -> Result<(), RefusedComponent> {
        if self.0.len() == NESTING_MAX {
            return Err(RefusedComponent::TooComplex(format!("more than {NESTING_MAX} levels")));
        }
        self.0.push(Level { is_component, instances: 0, components: Vec::new() });
        Ok(())
    }

    fn close(&mut self) -> Result<(), RefusedComponent> {
        let Some(level) = self.0.pop() else { return Ok(()) };
        if level.instances > INSTANCES_MAX {
            let instances = level.instances;
            return Err(RefusedComponent::TooComplex(format!("{instances} instances, allowed are {INSTANCES_MAX}")));
        }
        // Modules have indices of their own.
        if let Some(outer) = self.0.last_mut().filter(|_| level.is_component) {
            outer.components.push(Some(level.instances));
        }
        Ok(())
    }
}
