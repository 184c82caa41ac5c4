//! Asks Rust's standard library for what only a system could give, and says for each record what it got. Built for
//! wasm32-wasip2, where the library imports WASI for it.
//!
//! `do`: what (see `ask`); `on`: only for records whose value contains this text (every record where it is not given).
#![allow(clippy::disallowed_methods, reason = "they are what is asked for")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weir_sdk::{Config, Context, Descriptor, Failure, KEYS, Operator, Port, Record, Task, VALUES};

const OUT: Port = Port::new(0, "out");

struct System {
    what: String,
    on: String,
}

weir_sdk::export!(System);

unsafe extern "C" {
    /// In the C library that is linked in: it asks for a list of bytes, copies it, and gives the list's memory back.
    fn getentropy(buffer: *mut u8, len: usize) -> i32;
}

impl Operator for System {
    fn descriptor() -> Descriptor {
        println!("describes itself");
        Descriptor::new("system", "0.1.0").input("in", &[KEYS, VALUES]).output(OUT)
    }

    fn open(config: &Config, _: &Task) -> Result<System, Failure> {
        let text = |name, default| config.text(name, default).map(str::to_owned);
        Ok(System { what: text("do", "")?, on: text("on", "")? })
    }

    fn process(&mut self, record: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let value = String::from_utf8_lossy(record.value()).into_owned();
        if !value.contains(&self.on) {
            ctx.forward(OUT);
            return Ok(());
        }
        let answer = ask(&self.what, &value, ctx);
        ctx.emit(OUT).value(answer);
        Ok(())
    }
}

fn ask(what: &str, value: &str, ctx: &mut Context) -> String {
    match what {
        "print" => {
            println!("to stdout: {value}\nand a second line");
            eprintln!("to stderr: {value}\x1b[31m");
            print!("not ");
            print!("ended");
            std::io::stdout().flush().map_or_else(|e| e.to_string(), |()| value.to_owned())
        }
        "surroundings" => format!(
            "{} variables, {} arguments, folder {:?}, file {:?}",
            std::env::vars_os().count(),
            std::env::args_os().count(),
            std::env::current_dir().map_err(|e| e.kind()),
            std::fs::read("/etc/passwd").map_err(|e| e.kind()),
        ),
        "clocks" => {
            let (instant, time) = (Instant::now(), SystemTime::now());
            let elapsed = instant.elapsed();
            let millis = time.duration_since(UNIX_EPOCH).map_or(-1, |time| time.as_millis() as i64);
            format!("elapsed {elapsed:?}, the contract's clock {}", millis == ctx.now())
        }
        "random" => {
            let map: HashMap<u32, ()> = (0..32).map(|n| (n, ())).collect();
            let mut bytes = [0; 64];
            // SAFETY: it fills as many bytes as the buffer has.
            let status = unsafe { getentropy(bytes.as_mut_ptr(), bytes.len()) };
            // What was given back must not lie in what is given out now.
            let block = "7".repeat(64);
            format!("{status} {bytes:?} {} {:?}", block.bytes().all(|b| b == b'7'), map.keys().collect::<Vec<_>>())
        }
        "sleep" => {
            println!("goes to sleep");
            std::thread::sleep(Duration::from_millis(1));
            "slept".to_owned()
        }
        "stdin" => format!("{:?}", std::io::stdin().read(&mut [0; 8])),
        "exit" => std::process::exit(3),
        "panic" => panic!("cannot stand {value}"),
        "abort" => {
            eprintln!("the last words\nof a guest");
            std::process::abort()
        }
        "flood" => loop {
            println!("{}", "spam ".repeat(1_000));
        },
        _ => value.to_owned(),
    }
}
