//! `weir txn list|abort PIPELINE`: who owns a pipeline's transactional id, what its transactions hold back, and a fence for
//! when nobody will come back. Never writes a CLAIM.

use std::path::{Path, PathBuf};

use super::{Exit, Format};
use crate::clock;
use crate::connector::kafka::{Listing, abort_transactions, list_transactions};
use crate::pipeline::{self, KafkaDomain};
use crate::settings;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show ids, owner and partitions that an open transaction holds back
    List(Arguments),
    /// Fence the pipeline's ids: their open transactions are aborted at once
    Abort(Arguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The pipeline: its file, or its name together with --brokers
    pipeline: String,
    /// Brokers, where PIPELINE is a name; with a file, instead of those that it names
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(command: &Command) -> Exit {
    let (arguments, abort) = match command {
        Command::List(arguments) => (arguments, false),
        Command::Abort(arguments) => (arguments, true),
    };
    let domain = match domain(arguments) {
        Ok(domain) => domain,
        Err(exit) => return exit,
    };
    let done = match abort {
        true => abort_transactions(&domain).map(|ids| println!("fenced: {}", ids.join(", "))),
        false => list_transactions(&domain).map(|listing| print(&listing, !domain.topics.is_empty(), arguments.format)),
    };
    match done {
        Ok(()) => Exit::Ok,
        Err(error) => {
            eprintln!("error: {error}");
            Exit::of(&error)
        }
    }
}

fn domain(arguments: &Arguments) -> Result<KafkaDomain, Exit> {
    let file = PathBuf::from(&arguments.pipeline);
    if file.is_file() {
        let mut domain = from_file(&file)?;
        if let Some(brokers) = &arguments.brokers {
            domain.cluster.brokers.clone_from(brokers);
        }
        return Ok(domain);
    }
    let name = weir_core::ids::Name::new(arguments.pipeline.as_str()).map_err(|_| {
        eprintln!("error: {} is neither a pipeline file nor the name of a pipeline", arguments.pipeline);
        Exit::Config
    })?;
    match &arguments.brokers {
        Some(brokers) => Ok(pipeline::kafka_domain_of(&name, brokers)),
        None => {
            eprintln!("error: where is pipeline `{name}`? Give its file, or its name with --brokers HOST:PORT");
            Err(Exit::Usage)
        }
    }
}

fn from_file(file: &Path) -> Result<KafkaDomain, Exit> {
    let loaded = settings::load(file, &|name| std::env::var(name).ok()).map_err(|faults| {
        eprint!("{}", faults.render(super::exit::style()));
        Exit::Config
    })?;
    pipeline::kafka_domain(&loaded.spec).ok_or_else(|| {
        eprintln!("error: pipeline `{}` has no Kafka sink, so it has no transactions", loaded.spec.name);
        Exit::Config
    })
}

/// `of_sinks`: the sink topics were known and looked at, not the commit topic alone.
fn print(listing: &Listing, of_sinks: bool, format: Format) {
    if format == Format::Json {
        let held = |h: &crate::connector::kafka::Held| {
            serde_json::json!({
                "topic": h.topic, "partition": h.partition,
                "last_stable_offset": h.last_stable_offset, "high_watermark": h.high_watermark,
            })
        };
        let json = serde_json::json!({
            "ids": listing.ids,
            "owner": listing.owner,
            "commit": listing.commit,
            "held": (of_sinks || !listing.held.is_empty()).then(|| listing.held.iter().map(held).collect::<Vec<_>>()),
        });
        println!("{json:#}");
        return;
    }
    println!("ids     {}", listing.ids.join(", "));
    let age = |at: i64| format!("{:.0} s ago", (clock::now_millis() - at).max(0) as f64 / 1000.0);
    match &listing.owner {
        Some(claim) => println!("owner   process {} on {}, started {}", claim.pid, claim.host, age(claim.started_at)),
        None => println!("owner   none: this pipeline never ran"),
    }
    if let Some(commit) = &listing.commit {
        println!("commit  epoch {}, {}", commit.epoch, age(commit.at));
    }
    match listing.held.is_empty() {
        true if !of_sinks => println!("held    not known: the sink topics are named in the pipeline file; give that"),
        true => println!("held    nothing: committed readers can read every partition to its end"),
        false => {
            for held in &listing.held {
                println!(
                    "held    {}/{}: committed readers stop at {}, the partition ends at {}",
                    held.topic, held.partition, held.last_stable_offset, held.high_watermark
                );
            }
            println!(
                "If nobody owns these, `weir txn abort` ends ours; Kafka's kafka-transactions.sh names those of others."
            );
        }
    }
}
