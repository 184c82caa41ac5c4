//! Which interfaces of WASI 0.2 are answered, by name alone: what a component may import, and what whoever runs it should
//! know of that. Links nothing and runs nothing, so a component can be judged by it before any of it is compiled.

const WAITS: &str = "it could wait, and a call of an operator must not: what is to happen later is a timer's";
const EXITS: &str = "an operator does not end its process: it returns a failure";
const NO_FILES: &str = "there are no files";
const NO_TERMINAL: &str = "there is no terminal";
const UNKNOWN: &str = "this weir has no answer to it";

/// The interfaces that are answered, and why a function that has no answer is a trap.
const INTERFACES: &[(&str, &str)] = &[
    ("cli/environment", UNKNOWN),
    ("cli/exit", EXITS),
    ("cli/stderr", UNKNOWN),
    ("cli/stdin", UNKNOWN),
    ("cli/stdout", UNKNOWN),
    ("cli/terminal-input", NO_TERMINAL),
    ("cli/terminal-output", NO_TERMINAL),
    ("cli/terminal-stderr", NO_TERMINAL),
    ("cli/terminal-stdin", NO_TERMINAL),
    ("cli/terminal-stdout", NO_TERMINAL),
    ("clocks/monotonic-clock", WAITS),
    ("clocks/wall-clock", UNKNOWN),
    ("filesystem/preopens", NO_FILES),
    ("filesystem/types", NO_FILES),
    ("io/error", UNKNOWN),
    ("io/poll", UNKNOWN),
    ("io/streams", WAITS),
    ("random/insecure", UNKNOWN),
    ("random/insecure-seed", UNKNOWN),
    ("random/random", UNKNOWN),
];

/// What who imports a package should know.
const WARNINGS: &[(&str, &str)] = &[
    ("wasi:random", "its bytes are made from the input of the call, the same at each replay: they are no secret"),
    ("wasi:clocks", "time stands still during a call, and a replay after a restart sees another time"),
];

/// Whether an import is of an interface that is answered, in any version 0.2.
pub(in crate::guest) fn is_answered(import: &str) -> bool {
    interface(import).is_some()
}

/// What the imports of a component mean for whoever runs it.
pub(in crate::guest) fn warnings(imports: &[String]) -> Vec<String> {
    let imported = |package: &str| imports.iter().any(|import| import.split('/').next() == Some(package));
    let warned = WARNINGS.iter().filter(|(package, _)| imported(package));
    warned.map(|(package, means)| format!("imports {package}: {means}")).collect()
}

/// The interface without its version, as the table has it, and why most of it is a trap.
pub(super) fn interface(import: &str) -> Option<(&'static str, &'static str)> {
    let (name, version) = import.strip_prefix("wasi:")?.split_once('@')?;
    let patch = version.strip_prefix("0.2.")?;
    let is_release = !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit());
    INTERFACES.iter().copied().find(|(known, _)| is_release && *known == name)
}
