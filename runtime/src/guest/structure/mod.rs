//! What can be known of a component before the compiler sees a byte: what it imports and exports, and that it holds no more
//! of anything than a compiler can bear. Bytes go in, names come out; nothing is compiled or run.

mod nesting;
#[cfg(test)]
mod tests;

use wasmparser::{Parser, Payload};

use self::nesting::Nesting;
use super::refused::RefusedComponent;
use super::wasi;
use crate::hex;
use crate::journal::Safe;

/// Bytes of a component.
pub const SIZE_MAX: usize = 32 << 20;
/// Functions and types of all modules together. 200,000 functions in 1.5 MB cost 24 s and 1 GB.
const FUNCTIONS_MAX: u64 = 100_000;
const TYPES_MAX: u64 = 10_000;
/// One function: what compiling costs grows faster than its length, and with its locals times its loops.
const BODY_BYTES_MAX: u64 = 1 << 20;
const LOCALS_MAX: u64 = 2_000;
/// Of a component's own names in an answer.
const NAME_BYTES_SHOWN: usize = 200;
const NAMES_SHOWN: usize = 10;

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
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let (mut size, mut nesting) = (Size::default(), Nesting::default());
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(damaged)?;
        size.charge(&payload)?;
        nesting.charge(&payload)?;
        match payload {
            Payload::ComponentImportSection(section) if nesting.is_outermost() => {
                for import in section {
                    imports.push(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if nesting.is_outermost() => {
                for export in section {
                    exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    let guest = check_names(&imports, &exports)?;
    Ok(Surface { imports, exports, guest })
}

/// A parser's complaint quotes the bytes that it complains about.
fn damaged(error: wasmparser::BinaryReaderError) -> RefusedComponent {
    RefusedComponent::Damaged(shown(&error.to_string()))
}

/// A text of the component's, as it may stand in an answer and on a terminal: its author chose it, and its length.
fn shown(text: &str) -> String {
    Safe::new(text, &[]).cut(NAME_BYTES_SHOWN)
}

/// The same of several.
pub(super) fn shown_list(names: &[String]) -> String {
    let mut list: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| shown(name)).collect();
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 if list.is_empty() => return "nothing".to_owned(),
        0 => {}
        more => list.push(format!("and {more} more")),
    }
    list.join(", ")
}

/// Imports only from the contract, in a version that this host speaks, and from the WASI that is answered; the guest interface among the exports.
fn check_names(imports: &[String], exports: &[String]) -> Result<String, RefusedComponent> {
    for name in imports {
        match name.strip_prefix("weir:operator/") {
            None if wasi::is_answered(name) => {}
            None => return Err(RefusedComponent::ForbiddenImport(shown(name))),
            Some(rest) if !spoken(rest) => return Err(RefusedComponent::WrongVersion { found: shown(name) }),
            Some(_) => {}
        }
    }
    match exports.iter().find(|e| e.starts_with("weir:operator/guest@")) {
        None => Err(RefusedComponent::NotAnOperator(shown_list(exports))),
        Some(guest) if !spoken(guest) => Err(RefusedComponent::WrongVersion { found: shown(guest) }),
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
