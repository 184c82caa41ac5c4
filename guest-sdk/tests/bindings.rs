//! Holds the committed bindings to the contract: `src/bindings.rs` and `src/component_type.bin` are generated from `wit/`
//! by this test and compared with what is in the tree. Never part of a build: `BLESS=1 cargo test -p weir-sdk --test
//! bindings` writes them anew after a change of the contract.

mod generate;

use std::path::Path;

#[test]
fn bindings_in_the_tree_are_those_that_the_contract_gives() {
    let contract = generate::Contract::parse(&root().join("../wit"));
    check("src/bindings.rs", contract.bindings().as_bytes());
    check("src/component_type.bin", &contract.component_type());
}

fn check(name: &str, wanted: &[u8]) {
    let path = root().join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, wanted).expect("the source folder can be written");
    }
    let found = std::fs::read(&path).unwrap_or_default();
    assert!(found == wanted, "{name} does not match wit/: run `BLESS=1 cargo test -p weir-sdk --test bindings`");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
