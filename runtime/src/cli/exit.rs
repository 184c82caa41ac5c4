//! Exit codes, and whether a terminal shows colour. docs/cli.md shows the codes to users; they never change.

use std::io::IsTerminal;

use weir_core::domain::Class;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0.
    Ok,
    /// 1: the pipeline failed.
    Failed,
    /// 2: wrong use of the command line.
    Usage,
    /// 3: configuration, component or topic wrong.
    Config,
    /// 5: cannot reach, or not permitted.
    Unreachable,
    /// 6: state refused.
    State,
    /// 7: locked, deposed, or a live owner elsewhere.
    Locked,
    /// 130: second signal.
    Interrupted,
}

impl Exit {
    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Config => 3,
            Exit::Unreachable => 5,
            Exit::State => 6,
            Exit::Locked => 7,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Class> for Exit {
    fn from(class: Class) -> Exit {
        match class {
            Class::Stopped | Class::Ended => Exit::Ok,
            Class::Config => Exit::Config,
            Class::Unreachable => Exit::Unreachable,
            Class::Halt => Exit::State,
            Class::Fenced => Exit::Locked,
            Class::Transient | Class::Guest | Class::Io | Class::Bug => Exit::Failed,
        }
    }
}

impl Exit {
    /// The code of a connector's failure that nobody tries again.
    pub(super) fn of(error: &crate::connector::Error) -> Exit {
        use crate::connector::Error;
        match error {
            Error::Config(_) | Error::Record { .. } => Exit::Config,
            Error::Unreachable(_) | Error::Transient(_) => Exit::Unreachable,
            Error::Fenced(_) => Exit::Locked,
            Error::Halt(_) => Exit::State,
            Error::Io(_) => Exit::Failed,
        }
    }
}

/// Whether stderr shows colour: a terminal, unless NO_COLOR says no or CLICOLOR_FORCE yes.
pub(super) fn colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    set("CLICOLOR_FORCE") || (std::io::stderr().is_terminal() && !set("NO_COLOR"))
}

/// How diagnostics are drawn on stderr.
pub(super) fn style() -> crate::settings::Style {
    let no_color = std::env::var("NO_COLOR").ok();
    crate::settings::Style::of(std::io::stderr().is_terminal(), no_color.as_deref())
}
