//! `weir inspect X.wasm`: what a component is, declares and imports.

use std::path::PathBuf;

use super::{Exit, Format, load};
use crate::guest::{COMPONENT_BYTES_MAX, Inspection, Operator};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The component
    file: PathBuf,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match inspect(arguments) {
        Ok(inspection) if arguments.format == Format::Json => {
            let json = serde_json::to_string_pretty(&inspection).expect("an inspection is strings, numbers and lists");
            println!("{json}");
            Exit::Ok
        }
        Ok(inspection) => {
            print(&inspection);
            Exit::Ok
        }
        Err(exit) => exit,
    }
}

fn inspect(arguments: &Arguments) -> Result<Inspection, Exit> {
    let refuse = |message: String| {
        eprintln!("error: {}: {message}", arguments.file.display());
        Exit::Config
    };
    let metadata = std::fs::metadata(&arguments.file).map_err(|e| refuse(format!("cannot read it: {e}")))?;
    if metadata.is_dir() {
        return Err(refuse("this is a folder, not a component".to_owned()));
    }
    if metadata.len() > COMPONENT_BYTES_MAX as u64 {
        return Err(refuse(format!("it has {} bytes; the limit is {COMPONENT_BYTES_MAX}", metadata.len())));
    }
    let bytes = std::fs::read(&arguments.file).map_err(|e| refuse(format!("cannot read it: {e}")))?;
    let operator = Operator::load(&load::engine()?, &bytes).map_err(|e| refuse(e.to_string()))?;
    Ok(operator.inspection().clone())
}

fn print(inspection: &Inspection) {
    println!("{} {}  ({})", inspection.name, inspection.version, inspection.contract);
    println!("sha256     {}  {} bytes", inspection.sha256, inspection.bytes);
    let list = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let ports = |direction| {
        let ports = inspection.ports.iter().filter(|p| p.direction == direction);
        list(ports.map(|p| p.name.clone()).collect())
    };
    println!("inputs     {}", ports("in"));
    println!("outputs    {}", ports("out"));
    println!(
        "states     {}",
        list(inspection.states.iter().map(|s| format!("{} ({}, v{})", s.name, s.kind, s.schema_version)).collect())
    );
    println!("callbacks  {}", list(inspection.callbacks.clone()));
    if let Some(schema) = &inspection.config_schema {
        println!("config     {schema}");
    }
    println!("imports    {}", list(inspection.imports.clone()));
    inspection.warnings.iter().for_each(|warning| println!("warning    {warning}"));
}
