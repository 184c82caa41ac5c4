//! Writes `bindings.rs` and `component_type.bin` from the contract: each import as the `extern "C"` function of the
//! canonical ABI, each export as the type of the function that `export!` must define, every parameter named by its path
//! in WIT. Never decides how they are called: that is `src/host/` and `src/runtime/`.

use std::fmt::Write;
use std::path::Path;

use wit_component::StringEncoding;
use wit_parser::abi::{AbiVariant, WasmSignature, WasmType};
use wit_parser::{Function, InterfaceId, Resolve, Type, TypeDefKind, WorldId, WorldItem};

pub(crate) struct Contract {
    resolve: Resolve,
    world: WorldId,
}

impl Contract {
    pub(crate) fn parse(wit: &Path) -> Contract {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(wit).expect("the contract parses");
        let world = resolve.select_world(&[package], Some("operator")).expect("the contract has the world `operator`");
        Contract { resolve, world }
    }

    /// What wit-component reads from the custom section of a module to learn which world it was built for.
    pub(crate) fn component_type(&self) -> Vec<u8> {
        wit_component::metadata::encode(&self.resolve, self.world, StringEncoding::UTF8, None).expect("a world encodes")
    }

    pub(crate) fn bindings(&self) -> String {
        let mut out = String::from(HEAD);
        let world = &self.resolve.worlds[self.world];
        for (abi, items) in [(AbiVariant::GuestImport, &world.imports), (AbiVariant::GuestExport, &world.exports)] {
            for item in items.values() {
                if let WorldItem::Interface { id, .. } = item {
                    self.interface(&mut out, *id, abi);
                }
            }
        }
        out
    }

    fn interface(&self, out: &mut String, id: InterfaceId, abi: AbiVariant) {
        let interface = &self.resolve.interfaces[id];
        if interface.functions.is_empty() {
            return;
        }
        let name = interface.name.as_deref().expect("interfaces of a package have names");
        let path = self.resolve.id_of(id).expect("interfaces of a package have ids");
        writeln!(out, "\n/// `{path}`\npub(crate) mod {} {{", snake(name)).expect("a string takes it");
        let functions = interface.functions.values();
        match abi {
            AbiVariant::GuestImport => {
                writeln!(out, "    #[link(wasm_import_module = \"{path}\")]\n    unsafe extern \"C\" {{").expect("");
                functions.for_each(|f| self.import(out, f));
                writeln!(out, "    }}\n}}").expect("a string takes it");
            }
            _ => {
                functions.for_each(|f| self.export(out, &path, f));
                writeln!(out, "}}").expect("a string takes it");
            }
        }
    }

    fn import(&self, out: &mut String, function: &Function) {
        let signature = self.resolve.wasm_signature(AbiVariant::GuestImport, function);
        let params = self.params(function, &signature);
        writeln!(out, "        #[link_name = \"{}\"]", function.name).expect("a string takes it");
        writeln!(out, "        pub(crate) fn {}({}){};", snake(&function.name), params, result(&signature))
            .expect("a string takes it");
    }

    fn export(&self, out: &mut String, path: &str, function: &Function) {
        let signature = self.resolve.wasm_signature(AbiVariant::GuestExport, function);
        let params = self.params(function, &signature);
        writeln!(out, "    /// `{path}#{}`", function.name).expect("a string takes it");
        let name = camel(&function.name);
        writeln!(out, "    pub(crate) type {name} = unsafe extern \"C\" fn({params}){};", result(&signature))
            .expect("a string takes it");
    }

    fn params(&self, function: &Function, signature: &WasmSignature) -> String {
        let mut names = Vec::new();
        for param in &function.params {
            self.flatten(&snake(&param.name), &param.ty, &mut names);
        }
        let layout = names.join(", ");
        if signature.indirect_params {
            // The order of the fields in memory is part of the binding, so it is part of the text that is compared.
            names = vec![format!("/* {layout} */ params")];
        }
        if signature.retptr && names.len() < signature.params.len() {
            names.push("result".to_owned());
        }
        assert_eq!(names.len(), signature.params.len(), "each flat parameter of `{}` has a name", function.name);
        let typed = names.iter().zip(&signature.params).map(|(name, ty)| format!("{name}: {}", rust(*ty)));
        typed.collect::<Vec<_>>().join(", ")
    }

    /// The names of the flat parameters, in the order of the canonical ABI. The contract passes no variants.
    fn flatten(&self, path: &str, ty: &Type, names: &mut Vec<String>) {
        let Type::Id(id) = ty else {
            return match ty {
                Type::String => names.extend([format!("{path}_ptr"), format!("{path}_len")]),
                _ => names.push(path.to_owned()),
            };
        };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Record(record) => {
                for field in &record.fields {
                    self.flatten(&format!("{path}_{}", snake(&field.name)), &field.ty, names);
                }
            }
            TypeDefKind::List(_) => names.extend([format!("{path}_ptr"), format!("{path}_len")]),
            TypeDefKind::Option(inner) => {
                names.push(format!("{path}_is_some"));
                self.flatten(path, inner, names);
            }
            TypeDefKind::Type(inner) => self.flatten(path, inner, names),
            TypeDefKind::Enum(_) => names.push(path.to_owned()),
            other => panic!("a parameter of kind {} needs a rule here", other.as_str()),
        }
    }
}

const HEAD: &str = "\
//! Generated from `wit/` by `tests/bindings.rs`, which also compares: the functions of `weir:operator@0.1.0` as the
//! canonical ABI passes them. Never edited by hand.
#![allow(dead_code, reason = \"one function per import of the contract, used or not\")]
#![allow(clippy::too_many_arguments, reason = \"records are passed flat\")]
#![cfg_attr(rustfmt, rustfmt_skip)]
";

fn result(signature: &WasmSignature) -> String {
    match signature.results.as_slice() {
        [] => String::new(),
        [one] => format!(" -> {}", rust(*one)),
        more => panic!("{} results need a rule here", more.len()),
    }
}

fn rust(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I32 => "u32",
        WasmType::I64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::Pointer => "*mut u8",
        WasmType::Length => "usize",
        WasmType::PointerOrI64 => "u64",
    }
}

fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn camel(name: &str) -> String {
    name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
