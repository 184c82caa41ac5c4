//! Why a component is refused: every answer that a user of `weir check`, `build`, `inspect` or an upload can get.

use super::CONTRACT;

/// Why a component is refused. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum RefusedComponent {
    /// Over [`COMPONENT_BYTES_MAX`](super::COMPONENT_BYTES_MAX).
    #[error("the component has {bytes} bytes; the limit is {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Neither magic number.
    #[error("this is not WebAssembly: it starts with {0}")]
    NotWasm(String),
    /// A core module.
    #[error("this is a core WebAssembly module, not a component; build it with `weir build`")]
    CoreModule,
    /// Broken.
    #[error("the component is damaged: {0}")]
    Damaged(String),
    /// Too deep, too many.
    #[error("the component holds too much: {0}")]
    TooComplex(String),
    /// The compiler met one of its limits.
    #[error("the component costs too much to compile: more than {0}")]
    TooCostly(String),
    /// The compiler broke on it.
    #[error("the compiler broke on the component: {0}")]
    Compiler(String),
    /// The compiler did not come to work; the component may be good.
    #[error("the component could not be compiled: {0}")]
    NoCompiler(String),
    /// The contract's package in another version.
    #[error("the component speaks {found}; this weir speaks {CONTRACT}: rebuild it with weir-sdk 0.1")]
    WrongVersion {
        /// Import or export that gave it away.
        found: String,
    },
    /// Something outside the contract.
    #[error(
        "the component imports `{0}`, which no operator may: it may import {CONTRACT}, and of WASI 0.2 cli, io, clocks, random \
         and filesystem, which have no system behind them; leave out the dependency that needs it, and let sources and sinks \
         bring data in and out"
    )]
    ForbiddenImport(String),
    /// It does not export the guest interface.
    #[error("the component exports no weir:operator/guest@0.1.0; it exports: {0}")]
    NotAnOperator(String),
    /// An import or export has another type than the contract says.
    #[error("the component does not fit {CONTRACT}: {0}")]
    WrongType(String),
    /// `describe` failed.
    #[error("`describe` failed: {0}")]
    Describe(String),
    /// Declares what a later version brings, or contradicts itself.
    #[error("the operator declares {0}")]
    Declares(String),
}

impl RefusedComponent {
    /// Whether the fault is this machine's: the same component may be taken at another time.
    pub fn is_of_the_host(&self) -> bool {
        matches!(self, RefusedComponent::NoCompiler(_))
    }
}
