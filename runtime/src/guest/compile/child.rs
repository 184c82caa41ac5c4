//! The compiler's jail: a child process of weir's own program that limits itself before it reads a byte, gets the component
//! on stdin and gives native code on stdout. A component that costs too much ends that process and no other. Knows both
//! ends of that pipe; knows no cache.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::super::engine;
use super::super::refused::RefusedComponent;
use super::super::structure::SIZE_MAX;

/// Bytes of native code.
const NATIVE_BYTES_MAX: usize = 128 << 20;
/// The child's exit code for a component that is no component.
const REFUSED: i32 = 1;
/// That of a panic.
const PANICKED: i32 = 101;
/// How the child says that an allocation failed, wherever it failed.
const NO_MEMORY: &str = "memory allocation of";

/// What compiling one component may cost. A child process keeps it or dies.
#[derive(Debug, Clone, Copy)]
pub struct CompileLimits {
    /// Seconds of CPU time.
    pub cpu_seconds: u32,
    /// Seconds on the wall clock.
    pub wall_seconds: u32,
    /// Address space, MiB.
    pub memory_mib: u32,
}

impl Default for CompileLimits {
    /// Twice what the largest real guest costs that was tried: CPython, 18 MB, takes 23 s and 700 MiB. The wall clock is
    /// there for a compiler that gets no CPU to use up.
    fn default() -> CompileLimits {
        CompileLimits { cpu_seconds: 60, wall_seconds: 300, memory_mib: 1024 }
    }
}

/// Native code of a component, made by a child process.
pub(super) fn compile(program: &Path, limits: CompileLimits, component: &[u8]) -> Result<Vec<u8>, RefusedComponent> {
    let failed = |e: io::Error| RefusedComponent::NoCompiler(format!("{}: {e}", program.display()));
    let mut child = Command::new(program)
        .arg0("weir")
        .arg("compile-child")
        .args(["--cpu-seconds", &limits.cpu_seconds.to_string()])
        .args(["--wall-seconds", &limits.wall_seconds.to_string()])
        .args(["--memory-mib", &limits.memory_mib.to_string()])
        // The environment may hold secrets, and nothing in it may change the code.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().expect("it was just asked for");
    let output = std::thread::scope(|scope| {
        // A child that died reads no more; how it died says why.
        scope.spawn(move || drop(stdin.write_all(component)));
        child.wait_with_output()
    });
    judge(output.map_err(failed)?, limits)
}

/// What the child's end means.
fn judge(output: Output, limits: CompileLimits) -> Result<Vec<u8>, RefusedComponent> {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let costs = |what: String| Err(RefusedComponent::TooCostly(what));
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => Ok(output.stdout),
        _ if said.contains(NO_MEMORY) => costs(format!("{} MiB of memory", limits.memory_mib)),
        (_, Some(libc::SIGXCPU)) => costs(format!("{} s of CPU time", limits.cpu_seconds)),
        (_, Some(libc::SIGALRM)) => costs(format!("{} s on the clock", limits.wall_seconds)),
        _ if said.contains("has overflowed its stack") => costs("the compiler's stack: it nests too deeply".to_owned()),
        (Some(REFUSED), _) => Err(RefusedComponent::Damaged(said)),
        // Not by its own limits: by somebody, or by a machine without memory.
        (_, Some(libc::SIGKILL)) => Err(RefusedComponent::NoCompiler("its compiler was killed".to_owned())),
        (Some(PANICKED), _) | (_, Some(_)) => Err(RefusedComponent::Compiler(format!("{}: {said}", output.status))),
        _ => Err(RefusedComponent::NoCompiler(format!("{}: {said}", output.status))),
    }
}

/// The child's side: limits this process for good, then compiles stdin to stdout. Nothing else may run in this process. What
/// is wrong with the component is the inner error, which is exit code 1; whatever else is wrong must be another.
pub fn compile_child(limits: CompileLimits) -> io::Result<Result<(), String>> {
    confine(limits)?;
    let mut component = Vec::new();
    io::stdin().lock().take(SIZE_MAX as u64).read_to_end(&mut component)?;
    match native_code(&component) {
        Ok(native) => io::stdout().lock().write_all(&native).map(Ok),
        Err(refused) => Ok(Err(refused)),
    }
}

fn native_code(component: &[u8]) -> Result<Vec<u8>, String> {
    let native = (engine::compiling().and_then(|engine| engine.precompile_component(component))).map_err(|e| {
        // What the compiler maps rather than allocates fails with an error, not by ending the process.
        let no_memory = e.chain().any(|e| {
            e.downcast_ref::<io::Error>().is_some_and(|e| e.raw_os_error() == Some(libc::ENOMEM))
                || e.to_string().contains("out of memory")
        });
        if no_memory { format!("{NO_MEMORY} code failed: {e:#}") } else { format!("{e:#}") }
    })?;
    if native.len() > NATIVE_BYTES_MAX {
        return Err(format!("it has {} bytes of native code; the limit is {NATIVE_BYTES_MAX}", native.len()));
    }
    Ok(native)
}

/// Puts this process under its limits. They cannot be lifted again.
fn confine(limits: CompileLimits) -> io::Result<()> {
    let done = |code: libc::c_int| if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let most = |resource: libc::__rlimit_resource_t, soft: u64, hard: u64| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: both pass two numbers, which outlive the call.
        unsafe {
            done(libc::getrlimit(resource, &mut limit))?;
            // Whoever started us may have set less, and only root could lift that.
            limit.rlim_max = limit.rlim_max.min(hard);
            limit.rlim_cur = soft.min(limit.rlim_max);
            done(libc::setrlimit(resource, &limit))
        }
    };
    let (cpu, memory) = (u64::from(limits.cpu_seconds), u64::from(limits.memory_mib) << 20);
    // The signal that says so comes at the lower one; the other kills.
    most(libc::RLIMIT_CPU, cpu, cpu + 1)?;
    most(libc::RLIMIT_AS, memory, memory)?;
    most(libc::RLIMIT_CORE, 0, 0)?;
    // Writes nothing but pipes.
    most(libc::RLIMIT_FSIZE, 0, 0)?;
    // SAFETY: this process has opened nothing but stdio yet, so nobody loses a descriptor that was inherited by mistake; the
    // other calls pass numbers. A parent that dies takes its compiler along.
    unsafe {
        libc::close_range(3, libc::c_uint::MAX, 0);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::alarm(limits.wall_seconds);
    }
    Ok(())
}
