//! What can be known of a component before the compiler sees a byte: what it imports and exports, and that it holds no more
//! of anything than a compiler can bear. Bytes go in, names come out; nothing is compiled or run.

use wasmparser::{Encoding, Parser, Payload};

use super::refused::RefusedComponent;
use super::wasi;
use crate::hex;

/// Bytes of a component.
pub const SIZE_MAX: usize = 32 << 20;
/// Nested components, and core instances over all nesting: a kilobyte of nested components can cost 700 MB of compiler.
const NESTING_MAX: usize = 8;
const INSTANCES_MAX: usize = 64;
/// Functions and types of all modules together. 200,000 functions in 1.5 MB cost 24 s and 1 GB.
const FUNCTIONS_MAX: u64 = 100_000;
const TYPES_MAX: u64 = 10_000;
/// One function: what compiling costs grows faster than its length, and with its locals times its loops.
const BODY_BYTES_MAX: u64 = 1 << 20;
const LOCALS_MAX: u64 = 2_000;

/// What a component shows to the outside.
pub(super) struct Surface {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
    /// Full name of the guest interface.
    pub(super) guest: String,
}

/// Everything that can be known without compiling.
pub(super) fn check_structure(bytes: &[u8]) -> Result<Surface, RefusedComponent> {
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
    let mut size = Size::default();
    // One entry per open nesting: how many instances one copy of it makes, and its components' own counts.
    let mut nesting: Vec<(usize, Vec<usize>)> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(damaged)?;
        size.charge(&payload)?;
        match payload {
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

/// Imports only from the contract, in a version that this host speaks, and from the WASI that is answered; the guest interface among the exports.
fn check_names(imports: &[String], exports: &[String]) -> Result<String, RefusedComponent> {
    for name in imports {
        match name.strip_prefix("weir:operator/") {
            None if wasi::is_answered(name) => {}
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

/// What the compiler's work grows with, over all nesting.
#[derive(Default)]
struct Size {
    functions: u32,
    types: u32,
}

impl Size {
    fn charge(&mut self, payload: &Payload<'_>) -> Result<(), RefusedComponent> {
        let within = |what: &str, count: u64, max: u64| match count <= max {
            true => Ok(()),
            false => Err(RefusedComponent::TooComplex(format!("{count} {what}, allowed are {max}"))),
        };
        match payload {
            Payload::FunctionSection(section) => {
                self.functions = self.functions.saturating_add(section.count());
                within("functions", self.functions.into(), FUNCTIONS_MAX)
            }
            Payload::TypeSection(section) => {
                self.types = self.types.saturating_add(section.count());
                within("types", self.types.into(), TYPES_MAX)
            }
            Payload::ComponentTypeSection(section) => {
                self.types = self.types.saturating_add(section.count());
                within("types", self.types.into(), TYPES_MAX)
            }
            Payload::CodeSectionEntry(body) => {
                within("bytes in one function", body.range().len() as u64, BODY_BYTES_MAX)?;
                // Broken ones are the compiler's to name.
                let locals = body.get_locals_reader().into_iter().flatten().flatten();
                within("locals in one function", locals.map(|(count, _)| u64::from(count)).sum(), LOCALS_MAX)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(parts: &str) -> String {
        let bytes = wat::parse_str(format!("(component {parts})")).unwrap();
        check_structure(&bytes).err().map_or_else(String::new, |refused| refused.to_string())
    }

    #[test]
    fn what_a_compiler_cannot_bear_is_refused_before_it_starts() {
        let functions = "(func)".repeat(50_001);
        let modules = format!("(core module {functions}) (core module {functions})");
        assert_eq!(refused(&modules), "the component holds too much: 100002 functions, allowed are 100000");
        let types: String = (0..10_001).map(|_| "(type (func))").collect();
        assert_eq!(
            refused(&format!("(core module {types})")),
            "the component holds too much: 10001 types, allowed are 10000"
        );
        let body = "nop ".repeat(1 << 20);
        let said = refused(&format!("(core module (func {body}))"));
        assert!(said.ends_with(" bytes in one function, allowed are 1048576"), "{said}");
        let locals = "(local i32) (local i64) ".repeat(1_001);
        assert_eq!(
            refused(&format!("(core module (func {locals}))")),
            "the component holds too much: 2002 locals in one function, allowed are 2000"
        );
    }

    #[test]
    fn nesting_and_instances_are_counted_along_the_nesting() {
        let nested = |levels: usize| format!("{}{}", "(component ".repeat(levels), ")".repeat(levels));
        assert!(refused(&nested(8)).contains("more than 8 levels"));
        assert!(refused(&nested(7)).contains("exports no weir:operator/guest"));
        // Each level instantiates the one inside five times: 125 of a module that is written once.
        let mut inner = "(core module $m) (core instance (instantiate $m))".to_owned();
        for _ in 0..3 {
            inner = format!("(component $c {inner}) {}", "(instance (instantiate $c)) ".repeat(5));
        }
        assert!(refused(&inner).contains("instances, allowed are 64"), "{}", refused(&inner));
    }
}
