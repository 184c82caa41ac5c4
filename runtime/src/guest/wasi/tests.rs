//! The stubs of WASI, called by components in text, and the randomness of calls.

use wasmtime::component::{Component, Linker};
use wasmtime::{Store, Trap};

use super::super::call::{Context, Phase};
use super::super::engine::Engine;
use super::super::store::{Data, describe_store};
use super::*;

/// Runs the function `run` of a module in a component with these imports. `lowered` are the core functions that it gets.
fn run(imports: &str, lowered: &str, module: &str) -> (Store<Data>, Result<()>) {
    let text = format!(
        r#"(component
            {imports}
            (core module $memory (memory (export "memory") 32)
                (global $next (mut i32) (i32.const 65536))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (global.set $next (i32.add (global.get $next) (local.get 3)))
                    (i32.sub (global.get $next) (local.get 3))))
            (core instance $memory (instantiate $memory))
            {lowered}
            (core module $run {module})
            (core instance $run (instantiate $run (with "" (instance $given))))
            (func (export "run") (canon lift (core func $run "run"))))"#
    );
    let engine = Engine::new(1).unwrap();
    let component = Component::new(engine.raw(), text).unwrap();
    let mut linker = Linker::new(engine.raw());
    link(&mut linker, &component, &engine).unwrap();
    let mut store = describe_store(&engine, "");
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let func = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    let result = func.call(&mut store, ());
    (store, result)
}

#[test]
fn answered_are_the_interfaces_of_the_list_in_releases_of_0_2() {
    for import in ["wasi:cli/stdout@0.2.0", "wasi:io/streams@0.2.6", "wasi:filesystem/types@0.2.12"] {
        assert!(is_answered(import), "{import}");
    }
    let others = [
        "wasi:sockets/tcp@0.2.0",
        "wasi:http/types@0.2.0",
        "wasi:cli/run@0.2.0",
        "wasi:clocks/timezone@0.2.0",
        "wasi:cli/stdout@0.3.0",
        "wasi:cli/stdout@0.20.0",
        "wasi:cli/stdout@0.2.",
        "wasi:cli/stdout@0.2.0-rc-2023-11-10",
        "wasi:cli/stdout",
        "my:cli/stdout@0.2.0",
    ];
    for import in others {
        assert!(!is_answered(import), "{import}");
    }
}

#[test]
fn warnings_name_the_package_once_and_only_where_it_is_imported() {
    let imports = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(warnings(&imports(&["weir:operator/log@0.1.0", "wasi:io/streams@0.2.0"])), [""; 0]);
    let both = warnings(&imports(&["wasi:random/random@0.2.0", "wasi:random/insecure@0.2.0", "wasi:clocks/x@0.2.0"]));
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].starts_with("imports wasi:random: ") && both[1].starts_with("imports wasi:clocks: "), "{both:?}");
}

#[test]
fn function_without_an_answer_is_a_trap_that_names_it_and_says_why() {
    let imports = r#"(import "wasi:io/poll@0.2.1" (instance $poll (export "pollable" (type (sub resource)))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:clocks/monotonic-clock@0.2.1" (instance $clock
            (export "pollable" (type $p (eq $pollable)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))"#;
    let lowered = r#"(core func $wait (canon lower (func $clock "subscribe-duration")))
        (core instance $given (export "wait" (func $wait)))"#;
    let module = r#"(import "" "wait" (func $wait (param i64) (result i32)))
        (func (export "run") (drop (call $wait (i64.const 0))))"#;
    let (_, result) = run(imports, lowered, module);
    let said = result.unwrap_err().root_cause().to_string();
    assert!(said.starts_with("the guest called `subscribe-duration` of wasi:clocks/monotonic-clock: it"), "{said}");
}

/// Opens standard output in a loop, and drops it again where `drops`.
fn opens(drops: &str) -> Result<()> {
    let imports = r#"(import "wasi:io/streams@0.2.0" (instance $streams
            (export "output-stream" (type (sub resource)))))
        (alias export $streams "output-stream" (type $stream))
        (import "wasi:cli/stdout@0.2.0" (instance $stdout
            (export "output-stream" (type $s (eq $stream)))
            (export "get-stdout" (func (result (own $s))))))"#;
    let lowered = r#"(core func $open (canon lower (func $stdout "get-stdout")))
        (core func $drop (canon resource.drop $stream))
        (core instance $given (export "open" (func $open)) (export "drop" (func $drop)))"#;
    let module = format!(
        r#"(import "" "open" (func $open (result i32))) (import "" "drop" (func $drop (param i32)))
        (func (export "run") (local i32) (loop
            ({drops} (call $open))
            (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 5000)))))"#
    );
    run(imports, lowered, &module).1
}

#[test]
fn guest_holds_a_bounded_number_of_streams_and_may_open_more_when_it_lets_go() {
    let said = opens("drop").unwrap_err().root_cause().to_string();
    assert_eq!(said, "the guest holds 1024 streams and pollables, and asked for another one");
    opens("call $drop").unwrap();
}

#[test]
fn polling_is_answered_at_once_and_costs_fuel_for_each_pollable() {
    let imports = r#"(import "wasi:io/poll@0.2.0" (instance $poll
            (export "pollable" (type $p (sub resource)))
            (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:io/streams@0.2.0" (instance $streams
            (export "pollable" (type $p (eq $pollable)))
            (export "output-stream" (type $s (sub resource)))
            (export "[method]output-stream.subscribe" (func (param "self" (borrow $s)) (result (own $p))))))
        (alias export $streams "output-stream" (type $stream))
        (import "wasi:cli/stdout@0.2.0" (instance $stdout
            (export "output-stream" (type $s (eq $stream)))
            (export "get-stdout" (func (result (own $s))))))"#;
    let lowered = r#"(core module $place (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
        (core instance $place (instantiate $place))
        (core func $open (canon lower (func $stdout "get-stdout")))
        (core func $subscribe (canon lower (func $streams "[method]output-stream.subscribe")))
        (core func $wait (canon lower (func $poll "poll")
            (memory (core memory $memory "memory")) (realloc (core func $place "realloc"))))
        (alias core export $memory "memory" (core memory $shared))
        (core instance $given (export "open" (func $open)) (export "subscribe" (func $subscribe))
            (export "poll" (func $wait)) (export "memory" (memory $shared)))"#;
    // A thousand times the same one; the answer begins with how many are ready. Then for ever.
    let module = r#"(import "" "open" (func $open (result i32)))
        (import "" "subscribe" (func $subscribe (param i32) (result i32)))
        (import "" "poll" (func $poll (param i32 i32 i32))) (import "" "memory" (memory 32))
        (func (export "run") (local $pollable i32) (local $i i32)
            (local.set $pollable (call $subscribe (call $open)))
            (loop
                (i32.store (local.get $i) (local.get $pollable))
                (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 4000))))
            (loop
                (call $poll (i32.const 0) (i32.const 1000) (i32.const 4096))
                (if (i32.ne (i32.load (i32.const 4100)) (i32.const 1000)) (then unreachable))
                (br 0)))"#;
    let error = run(imports, lowered, module).1.unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel), "{error:#}");
}

/// Asks for so many random bytes again and again: how often, and how it ended.
fn asks(bytes: u64) -> (u64, wasmtime::Error) {
    let imports = r#"(import "wasi:random/random@0.2.0" (instance $random
            (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))"#;
    // All of them lie at one place: nothing but fuel is to run out.
    let lowered = r#"(core module $place (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
        (core instance $place (instantiate $place))
        (core func $bytes (canon lower (func $random "get-random-bytes")
            (memory (core memory $memory "memory")) (realloc (core func $place "realloc"))))
        (core instance $given (export "bytes" (func $bytes)))"#;
    let module = format!(
        r#"(import "" "bytes" (func $bytes (param i64 i32)))
        (func (export "run") (loop (call $bytes (i64.const {bytes}) (i32.const 8)) (br 0)))"#
    );
    let (store, result) = run(imports, lowered, &module);
    let blocks = store.data().context.as_ref().map_or(0, |context| context.random.blocks());
    (blocks * 16 / bytes, result.unwrap_err())
}

#[test]
fn random_bytes_are_bounded_and_cost_fuel() {
    let said = asks((1 << 20) + 1).1.root_cause().to_string();
    assert_eq!(said, "the guest asked for 1048577 random bytes at once, allowed are 1048576");
    // 5 × 10⁹ of fuel would last for 10⁸ rounds of the loop alone.
    let (asked, error) = asks(1 << 20);
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
    assert!(asked < 5_000, "{asked}");
}

fn context(lines: &[&str]) -> Context {
    let mut context = Context::describe();
    context.random = Random::new("p", "n", 0);
    context.begin(Phase::Process);
    for line in lines {
        context.batch.times.push(0);
        context.batch.keys.push(None);
        context.batch.values.push(Some(line.as_bytes()));
    }
    context
}

#[test]
fn random_bytes_of_a_call_follow_from_what_it_is_given_and_from_nothing_else() {
    let bytes = |mut context: Context| random::draw(&mut context, 40);
    let first = bytes(context(&["a", "b"]));
    assert_eq!(bytes(context(&["a", "b"])), first);
    assert_ne!(first[..16], first[16..32]);
    for other in [&["a"][..], &["ab"], &["ab", ""], &["a", "c"], &[]] {
        assert_ne!(bytes(context(other)), first, "{other:?}");
    }
    let with = |change: &dyn Fn(&mut Context)| {
        let mut context = context(&["a", "b"]);
        change(&mut context);
        bytes(context)
    };
    assert_ne!(with(&|context| context.random = Random::new("p", "n", 1)), first);
    assert_ne!(with(&|context| context.phase = Phase::Open), first);
    assert_ne!(with(&|context| context.batch.times[1] = 1), first);
    assert_ne!(with(&|context| context.tags.push(0)), first);
    // Neither the time nor the watermark of a call are what it works on.
    assert_eq!(with(&|context| (context.now, context.watermark) = (7, 7)), first);
}

#[test]
fn random_bytes_begin_anew_with_each_call_and_go_on_within_it() {
    let mut context = context(&["a"]);
    let both = random::draw(&mut context, 16);
    let next = random::draw(&mut context, 16);
    assert_ne!(both, next);
    context.begin(Phase::Process);
    assert_eq!(random::draw(&mut context, 32), [both, next].concat());
}
