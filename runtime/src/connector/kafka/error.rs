//! What librdkafka and the broker answer, and what it means for us: one table from error codes to the classes of
//! [`connector::Error`](Error). Owns no client.

use std::ffi::{CStr, c_char};
use std::fmt;
use std::mem::transmute;

use rdkafka_sys::rd_kafka_resp_err_t as Native;
use rdkafka_sys::{rd_kafka_err2name, rd_kafka_err2str, rd_kafka_error_code, rd_kafka_error_destroy};
use rdkafka_sys::{rd_kafka_error_is_fatal, rd_kafka_error_is_retriable, rd_kafka_error_string, rd_kafka_error_t};

use crate::connector::Error;

/// An error code. A number and not the binding's enum: a broker may answer codes that this librdkafka does not know, and
/// an enum must never hold one of those.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Code(pub(super) i32);

macro_rules! codes {
    ($($name:ident = $native:ident),* $(,)?) => {
        impl Code { $(pub(super) const $name: Code = Code(Native::$native as i32);)* }
    };
}

codes! {
    NONE = RD_KAFKA_RESP_ERR_NO_ERROR,
    ALL_BROKERS_DOWN = RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
    AUTHENTICATION = RD_KAFKA_RESP_ERR__AUTHENTICATION,
    AUTO_OFFSET_RESET = RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET,
    FATAL = RD_KAFKA_RESP_ERR__FATAL,
    FENCED = RD_KAFKA_RESP_ERR__FENCED,
    PARTITION_EOF = RD_KAFKA_RESP_ERR__PARTITION_EOF,
    QUEUE_FULL = RD_KAFKA_RESP_ERR__QUEUE_FULL,
    RESOLVE = RD_KAFKA_RESP_ERR__RESOLVE,
    SSL = RD_KAFKA_RESP_ERR__SSL,
    STATE = RD_KAFKA_RESP_ERR__STATE,
    TIMED_OUT = RD_KAFKA_RESP_ERR__TIMED_OUT,
    TRANSPORT = RD_KAFKA_RESP_ERR__TRANSPORT,
    UNKNOWN_PARTITION = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
    UNKNOWN_TOPIC = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
    BROKER_CLUSTER_DENIED = RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
    BROKER_GROUP_DENIED = RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
    BROKER_INVALID_TIMEOUT = RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT,
    BROKER_INVALID_EPOCH = RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
    BROKER_FENCED = RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
    BROKER_LEADER_AWAY = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
    BROKER_NOT_LEADER = RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
    BROKER_REPLICA_AWAY = RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
    BROKER_ILLEGAL_SASL = RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE,
    BROKER_INVALID_TIMESTAMP = RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
    BROKER_OUT_OF_RANGE = RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
    BROKER_SASL_FAILED = RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED,
    BROKER_TOO_LARGE = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
    BROKER_TOPIC_DENIED = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    BROKER_TOPIC_EXISTS = RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS,
    BROKER_TXN_DENIED = RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    BROKER_UNKNOWN_TOPIC = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
    BROKER_UNSUPPORTED_SASL = RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM,
}

/// A binding that takes or returns an error code, with the code as a number.
macro_rules! with_code {
    ($function:expr, ($($argument:ty),*) -> $code:ty => $result:ty) => {{
        #[allow(unused_unsafe, reason = "some callers stand in an unsafe block")]
        // SAFETY: the binding's enum is `repr(i32)`, so both signatures are the same to the C ABI.
        let function = unsafe {
            ::std::mem::transmute::<
                unsafe extern "C" fn($($argument),*) -> $code,
                unsafe extern "C" fn($($argument),*) -> $result,
            >($function)
        };
        function
    }};
}
pub(super) use with_code;

impl Code {
    /// Reads a code out of a struct that librdkafka filled.
    pub(super) fn read(place: *const Native) -> Code {
        // SAFETY: callers pass a pointer into a live struct; as an i32 every bit pattern is a value.
        Code(unsafe { place.cast::<i32>().read() })
    }

    /// The code's name in Kafka's words.
    pub(super) fn name(self) -> String {
        // SAFETY: an i32 and the enum are passed alike; librdkafka looks the number up in a table and knows "ERR_%i?".
        let named = unsafe {
            transmute::<unsafe extern "C" fn(Native) -> *const c_char, unsafe extern "C" fn(i32) -> *const c_char>(
                rd_kafka_err2name,
            )(self.0)
        };
        text(named)
    }

    /// The code in a sentence.
    pub(super) fn describe(self) -> String {
        // SAFETY: as in `name`.
        let described = unsafe {
            transmute::<unsafe extern "C" fn(Native) -> *const c_char, unsafe extern "C" fn(i32) -> *const c_char>(
                rd_kafka_err2str,
            )(self.0)
        };
        text(described)
    }

    /// What kind of trouble it is.
    pub(super) fn kind(self) -> Kind {
        match self {
            Code::FENCED | Code::BROKER_FENCED | Code::BROKER_INVALID_EPOCH => Kind::Fenced,
            Code::ALL_BROKERS_DOWN | Code::TRANSPORT | Code::RESOLVE => Kind::Unreachable,
            Code::AUTHENTICATION
            | Code::SSL
            | Code::BROKER_SASL_FAILED
            | Code::BROKER_UNSUPPORTED_SASL
            | Code::BROKER_ILLEGAL_SASL => Kind::NotAuthenticated,
            Code::BROKER_TOPIC_DENIED
            | Code::BROKER_GROUP_DENIED
            | Code::BROKER_CLUSTER_DENIED
            | Code::BROKER_TXN_DENIED => Kind::NotPermitted,
            Code::BROKER_UNKNOWN_TOPIC | Code::UNKNOWN_TOPIC | Code::UNKNOWN_PARTITION => Kind::NoTopic,
            Code::BROKER_INVALID_TIMEOUT => Kind::TransactionTimeout,
            Code::BROKER_LEADER_AWAY | Code::BROKER_NOT_LEADER | Code::BROKER_REPLICA_AWAY => Kind::NoLeader,
            _ => Kind::Other,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

/// What a code means, wherever it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Somebody initialised our transactional id, or the coordinator timed our transaction out: both look the same here,
    /// and the newest CLAIM tells them apart.
    Fenced,
    Unreachable,
    NotAuthenticated,
    NotPermitted,
    NoTopic,
    TransactionTimeout,
    NoLeader,
    Other,
}

/// An error that librdkafka returned by value.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) is_fatal: bool,
    pub(super) is_retriable: bool,
}

impl Failure {
    /// Takes what a call returned: null is success.
    pub(super) fn check(native: *mut rd_kafka_error_t) -> Result<(), Failure> {
        if native.is_null() {
            return Ok(());
        }
        let code = with_code!(rd_kafka_error_code, (*const rd_kafka_error_t) -> Native => i32);
        // SAFETY: the error is not null, ours, and destroyed once.
        unsafe {
            let failure = Failure {
                code: Code(code(native)),
                message: text(rd_kafka_error_string(native)),
                is_fatal: rd_kafka_error_is_fatal(native) != 0,
                is_retriable: rd_kafka_error_is_retriable(native) != 0,
            };
            rd_kafka_error_destroy(native);
            Err(failure)
        }
    }

    /// The class that says what happens next. `doing` completes "cannot …".
    ///
    /// Fenced becomes transient here: only a newer CLAIM in the commit topic proves that another attempt owns the
    /// pipeline, and the authority looks before it answers.
    pub(super) fn into_error(self, doing: &str) -> Error {
        let Failure { code, message, .. } = self;
        let said = format!("cannot {doing}: {message} ({})", code.name());
        match code.kind() {
            Kind::Unreachable => Error::Unreachable(said),
            Kind::NotAuthenticated => Error::Unreachable(format!("{said}: check `security` of this connection")),
            Kind::NotPermitted => Error::Unreachable(format!("{said}: {}", ACLS)),
            Kind::NoTopic | Kind::TransactionTimeout => Error::Config(said),
            Kind::Fenced | Kind::NoLeader | Kind::Other => Error::Transient(said),
        }
    }
}

/// What the user of a pipeline must be allowed to do.
pub(super) const ACLS: &str = "the user of this connection needs READ and DESCRIBE on the source topics and on group \
     `weir-<pipeline>`, WRITE and DESCRIBE on the sink topics and on `__weir.<pipeline>.commits` (there also READ and, \
     the first time, CREATE), and WRITE and DESCRIBE on transactional id `weir.<pipeline>.` (prefixed)";

/// A C string of librdkafka's, copied.
pub(super) fn text(native: *const c_char) -> String {
    if native.is_null() {
        return String::new();
    }
    // SAFETY: librdkafka's strings end with a zero.
    unsafe { CStr::from_ptr(native) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: Code) -> &'static str {
        let failure = Failure { code, message: "m".into(), is_fatal: false, is_retriable: false };
        match failure.into_error("try") {
            Error::Config(_) => "config",
            Error::Unreachable(_) => "unreachable",
            Error::Transient(_) => "transient",
            Error::Fenced(_) => "fenced",
            Error::Halt(_) => "halt",
            Error::Io(_) => "io",
            Error::Record { .. } => "record",
        }
    }

    #[test]
    fn each_kind_of_trouble_has_its_class() {
        for (code, expected) in [
            (Code::TRANSPORT, "unreachable"),
            (Code::AUTHENTICATION, "unreachable"),
            (Code::BROKER_TOPIC_DENIED, "unreachable"),
            (Code::BROKER_TXN_DENIED, "unreachable"),
            (Code::BROKER_UNKNOWN_TOPIC, "config"),
            (Code::BROKER_INVALID_TIMEOUT, "config"),
            (Code::TIMED_OUT, "transient"),
            (Code::STATE, "transient"),
            (Code::FENCED, "transient"),
            (Code::BROKER_INVALID_EPOCH, "transient"),
            (Code(119), "transient"),
        ] {
            assert_eq!(class(code), expected, "{code:?}");
        }
    }

    #[test]
    fn a_code_that_this_librdkafka_does_not_know_is_still_a_number() {
        assert_eq!(Code(120).name(), "ERR_120?");
        assert_eq!(Code::FENCED.name(), "_FENCED");
    }
}
