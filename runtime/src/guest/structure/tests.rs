//! What is refused before the compiler starts, and what is said of it.

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

#[test]
fn a_component_is_counted_by_whatever_index_it_is_named() {
    let many = "(core module $m) ".to_owned() + &"(core instance (instantiate $m)) ".repeat(33);
    let twice = "(instance (instantiate $c)) (instance (instantiate $c))";
    for (way, parts) in [
        ("behind a module", format!("(core module) (component $c {many}) {twice}")),
        ("as an alias", format!("(component $d {many}) (component (alias outer 1 $d (component $c)) {twice})")),
        ("as an export", format!("(component $d {many}) (export $c \"c\" (component $d)) {twice}")),
    ] {
        assert!(refused(&parts).contains("66 instances, allowed are 64"), "{way}: {}", refused(&parts));
    }
    // Which one it is, only those know who instantiate this.
    let imported = format!("(component (import \"c\" (component $c)) {twice})");
    assert!(refused(&imported).contains("an instance of component 0, whose size is not known"), "{imported}");
}

#[test]
fn names_of_the_component_are_shown_in_part_and_on_one_line() {
    let exports: String = (0..12).map(|i| format!("(export \"e{i}{}\" (func $f))", "x".repeat(300))).collect();
    let said = refused(&format!("(import \"wasi:io/error@0.2.0\" (func $f)) {exports}"));
    assert!(said.ends_with("x…, and 2 more") && said.len() < 2_500, "{said}");
    let said = refused("(import \"a\\n\\1b[2J\" (func))");
    assert!(said.starts_with("the component imports `a\\n\\u{1b}[2J`"), "{said}");
}
