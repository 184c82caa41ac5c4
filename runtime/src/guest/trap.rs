//! What a trap means to those who read about it: why, whom to blame, and where in the guest, in its own function names.

use wasmtime::{Trap, WasmBacktrace};

use super::call::{Context, Failure, Reason};
use super::imports::clean;

/// Frames that a message shows, innermost first; and those that are kept beside it.
const FRAMES: usize = 3;
const BACKTRACE_MAX: usize = 16;
/// Characters of one name.
const NAME_MAX: usize = 160;

/// What a trap means, in the guest's own words where it left some.
pub(super) fn trapped(context: &Context, denied: bool, error: &wasmtime::Error) -> Failure {
    let trap = error.downcast_ref::<Trap>();
    let (slot, words) = match &context.last_words {
        Some((slot, words)) => (*slot, Some(words.clone())),
        None => (None, None),
    };
    let (reason, code, message) = match (&context.over_limit, trap) {
        (Some(message), _) => (Reason::Output, "output-limit", message.clone()),
        (None, Some(Trap::OutOfFuel)) => {
            (Reason::TimedOut, "call-timeout", "the call ran longer than `limits.call_timeout` allows".to_owned())
        }
        _ if denied => {
            (Reason::Memory, "memory-limit", "the guest asked for more memory than `limits.memory` allows".to_owned())
        }
        (None, Some(trap)) => (Reason::Trapped, "trap", trap.to_string()),
        (None, None) => (Reason::Trapped, "trap", format!("{}", error.root_cause())),
    };
    // A panic's own words name file and line; the frames of the panic handler would only be noise behind them.
    let message = match words {
        Some(words) if reason == Reason::Trapped => words,
        _ => clean(&format!("{message}{}{}", place(error), context.stderr)),
    };
    Failure { reason, slot, code: code.to_owned(), message, backtrace: frames(error, BACKTRACE_MAX) }
}

/// Where it happened: the innermost functions, as their author wrote them.
fn place(error: &wasmtime::Error) -> String {
    let shown: Vec<String> = frames(error, FRAMES).iter().map(|name| format!("`{name}`")).collect();
    match shown.split_first() {
        Some((first, [])) => format!(" in {first}"),
        Some((first, callers)) => format!(" in {first}, called by {}", callers.join(", ")),
        None => String::new(),
    }
}

/// The guest's functions on the stack, innermost first. The machinery of a panic, which is innermost where there is one, says
/// nothing about the guest and is left out.
fn frames(error: &wasmtime::Error, max: usize) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let names: Vec<&str> = backtrace.frames().iter().filter_map(|frame| frame.func_name()).collect();
    let shown = |name: &&str| clean(&demangled(name));
    let from = names.iter().position(|name| !is_machinery(&demangled(name))).unwrap_or_default();
    names[from..].iter().take(max).map(shown).collect()
}

/// Whether a function is one of those of Rust's that lead from a panic to its trap.
fn is_machinery(name: &str) -> bool {
    let name = name.trim_start_matches('<');
    let crates = ["core::", "std::", "alloc::", "rust_", "__rust", "__rg_", "abort", "dlmalloc::"];
    crates.iter().any(|start| name.starts_with(start))
}

/// Rust's mangled names without their hash; others as they are. The guest chooses the length, so it is cut.
fn demangled(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    match name.char_indices().nth(NAME_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_frames_are_those_of_the_source() {
        assert_eq!(demangled("_ZN7hostile4harm17h0123456789abcdefE"), "hostile::harm");
        assert_eq!(demangled("_RNvCskwGfYPst2Cb_7hostile4harm"), "hostile::harm");
        assert_eq!(demangled("weir:operator/guest@0.1.0#process"), "weir:operator/guest@0.1.0#process");
        assert_eq!(demangled(&"x".repeat(500)).chars().count(), NAME_MAX + 1);
    }

    #[test]
    fn what_leads_from_a_panic_to_its_trap_is_not_the_guests() {
        for name in [
            "core::panicking::panic_fmt",
            "<alloc::vec::Vec<T>>::push",
            "rust_panic",
            "__rustc::rust_begin_unwind",
            "abort",
        ] {
            assert!(is_machinery(name), "{name}");
        }
        for name in ["hostile::harm", "<count::Count as weir_sdk::Operator>::process", "corelib::f", "f"] {
            assert!(!is_machinery(name), "{name}");
        }
    }

    #[test]
    fn trap_names_the_innermost_functions() {
        let engine = wasmtime::Engine::default();
        let text = r#"(module
            (func $_ZN5guest4deep17h0123456789abcdefE unreachable)
            (func $_ZN5guest5outer17h0123456789abcdefE call 0)
            (func $third call 1) (func $fourth (export "f") call 2))"#;
        let module = wasmtime::Module::new(&engine, text).unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let error = f.call(&mut store, ()).unwrap_err();
        assert_eq!(place(&error), " in `guest::deep`, called by `guest::outer`, `third`");
    }
}
