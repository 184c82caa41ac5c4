//! From a core module, as cargo leaves it, to a component. Reads the world that the SDK embedded in the module; never checks
//! whether the host speaks that contract or grants its imports: that is `inspect`'s, and is the same for an upload.

use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// The component of a core module, validated.
pub fn componentize(core: &[u8]) -> Result<Vec<u8>, ComponentizeError> {
    let module = Module::read(core)?;
    let encoded = ComponentEncoder::default().validate(true).module(core).and_then(|mut encoder| encoder.encode());
    encoded.map_err(|source| match module.foreign_import {
        Some((module, name)) => ComponentizeError::ForeignImport { module, name },
        None => ComponentizeError::Encoding(source.into()),
    })
}

/// Why a module did not become a component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentizeError {
    /// The bytes are something else, or damaged.
    #[error("not a WebAssembly module: {0}")]
    NotWasm(String),
    /// It has been made into a component before.
    #[error("already a component: use it as it is")]
    AlreadyComponent,
    /// Nothing in the module says which world it was built for.
    #[error(
        "not an operator: the module embeds no contract; does the crate call `weir_sdk::export!`, with `crate-type = [\"cdylib\"]`?"
    )]
    NoContract,
    /// The module wants something that no component gives it: mostly a crate that expects a browser or an operating system.
    #[error(
        "the module imports `{name}` from `{module}`, which is no part of weir's contract; which dependency needs it?"
    )]
    ForeignImport {
        /// Where the import comes from.
        module: String,
        /// What is imported.
        name: String,
    },
    /// Imports or exports do not have the types of the contract.
    #[error("the module does not fit the contract that it embeds")]
    Encoding(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What tells a module that cannot become an operator from one that can.
struct Module {
    foreign_import: Option<(String, String)>,
}

impl Module {
    fn read(core: &[u8]) -> Result<Module, ComponentizeError> {
        let not_wasm = |error: wasmparser::BinaryReaderError| ComponentizeError::NotWasm(error.to_string());
        if Parser::is_component(core) {
            return Err(ComponentizeError::AlreadyComponent);
        }
        let (mut embeds_contract, mut foreign_import) = (false, None);
        for payload in Parser::new(0).parse_all(core) {
            match payload.map_err(not_wasm)? {
                Payload::CustomSection(section) => embeds_contract |= section.name().starts_with("component-type"),
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import.map_err(not_wasm)?;
                        // Interfaces of the component model are named `package:name/interface`, everything else is foreign.
                        if !import.module.contains(':') {
                            foreign_import.get_or_insert_with(|| (import.module.to_owned(), import.name.to_owned()));
                        }
                    }
                }
                _ => {}
            }
        }
        if !embeds_contract {
            return Err(ComponentizeError::NoContract);
        }
        Ok(Module { foreign_import })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wat: &str) -> String {
        let core = wat::parse_str(wat).expect("the test writes valid text");
        componentize(&core).expect_err("it is no operator").to_string()
    }

    /// A module that says it was built for weir's contract, as the SDK says it.
    fn with_contract(module: &str) -> String {
        let section = include_bytes!("../../../guest-sdk/src/component_type.bin");
        let escaped: String = section.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!("(module {module} (@custom \"component-type:weir\" \"{escaped}\"))")
    }

    #[test]
    fn bytes_that_are_no_wasm_are_refused() {
        let error = componentize(b"#!/bin/sh\necho").expect_err("a script is no module");
        assert!(error.to_string().starts_with("not a WebAssembly module: magic header not detected"), "{error}");
        let error = componentize(b"").expect_err("nothing is no module");
        assert!(matches!(error, ComponentizeError::NotWasm(_)), "{error}");
    }

    #[test]
    fn a_component_is_not_wrapped_again() {
        assert_eq!(refused("(component)"), "already a component: use it as it is");
    }

    #[test]
    fn a_module_without_the_sdk_is_named_as_such() {
        assert!(refused("(module)").starts_with("not an operator: the module embeds no contract"));
    }

    #[test]
    fn an_import_from_outside_the_contract_is_named() {
        let module = with_contract("(import \"env\" \"time\" (func))");
        assert!(refused(&module).starts_with("the module imports `time` from `env`"), "{}", refused(&module));
    }

    #[test]
    fn a_module_that_lacks_the_exports_says_which() {
        let core = wat::parse_str(with_contract("(memory (export \"memory\") 1)")).expect("valid text");
        let ComponentizeError::Encoding(source) = componentize(&core).expect_err("it exports nothing") else {
            panic!("the contract is there, the functions are not")
        };
        let causes = std::iter::successors(Some(&*source as &dyn std::error::Error), |error| error.source());
        let causes = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        assert!(causes.contains("interface `weir:operator/guest@0.1.0` function `describe`"), "{causes}");
    }
}
