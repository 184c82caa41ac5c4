//! Log lines, in the manner of `tracing`: `info!(ip = key, "first seen at {time}")`. Nothing is formatted below the level
//! that the host keeps.

use crate::host;

/// Whether the host keeps this level (0 trace … 4 error).
pub fn is_kept(level: u32) -> bool {
    level >= host::log_least()
}

/// Writes one line.
pub fn write(level: u32, message: String, fields: &[(&str, String)]) {
    host::log_write(level, &message, fields);
}

/// Writes a line at a level; the other log macros stand on it.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    (@ $level:expr, [$($name:ident = $value:expr),*] $next:ident = $new:expr, $($rest:tt)+) => {
        $crate::__log!(@ $level, [$($name = $value,)* $next = $new] $($rest)+)
    };
    (@ $level:expr, [$($name:ident = $value:expr),*] $($message:tt)+) => {
        if $crate::__private::is_kept($level) {
            $crate::__private::write(
                $level,
                ::std::format!($($message)+),
                &[$((::std::stringify!($name), ::std::string::ToString::to_string(&$value))),*],
            );
        }
    };
}

/// The finest level.
#[macro_export]
macro_rules! trace { ($($arg:tt)+) => { $crate::__log!(@ 0, [] $($arg)+) }; }
/// For whoever looks for a mistake.
#[macro_export]
macro_rules! debug { ($($arg:tt)+) => { $crate::__log!(@ 1, [] $($arg)+) }; }
/// For whoever runs the pipeline.
#[macro_export]
macro_rules! info { ($($arg:tt)+) => { $crate::__log!(@ 2, [] $($arg)+) }; }
/// Something is not as it should be.
#[macro_export]
macro_rules! warn { ($($arg:tt)+) => { $crate::__log!(@ 3, [] $($arg)+) }; }
/// Something went wrong.
#[macro_export]
macro_rules! error { ($($arg:tt)+) => { $crate::__log!(@ 4, [] $($arg)+) }; }
