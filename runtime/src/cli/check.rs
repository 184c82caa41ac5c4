//! `weir check FILE`: everything that can be known without running.

use std::path::PathBuf;

use weir_core::graph::spec::{Pipeline, Source, SourceKind};

use super::{Exit, load};
use crate::connector::{Error, kafka};
use crate::pipeline::{check_one_cluster, check_source_topics, kafka_domain};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The pipeline file
    file: PathBuf,
    /// Ask the broker too: topics, rights, limits. Leaves no trace
    #[arg(long)]
    connect: bool,
    /// Where operators that are named `name@version` are found: the --data folder of `weir serve`, or its registry
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match load::load(&arguments.file, arguments.registry.as_deref()) {
        Ok(checked) => {
            let pipeline = &checked.pipeline;
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            println!(
                "{}: {} is good: {}, {}, {}; {}",
                arguments.file.display(),
                pipeline.name,
                count(pipeline.sources.len(), "source"),
                count(pipeline.nodes.len(), "operator"),
                count(pipeline.sinks.len(), "sink"),
                pipeline.checkpoint.guarantee.as_str()
            );
            if arguments.connect { connect(pipeline) } else { Exit::Ok }
        }
        Err(exit) => exit,
    }
}

fn connect(pipeline: &Pipeline) -> Exit {
    match ask(pipeline) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            eprintln!("error: {error}");
            Exit::of(&error)
        }
    }
}

fn ask(pipeline: &Pipeline) -> Result<(), Error> {
    check_source_topics(pipeline, false)?;
    let Some(domain) = kafka_domain(pipeline) else {
        let reads = |source: &Source| matches!(source.kind, SourceKind::Kafka(_));
        println!(
            "{}",
            match pipeline.sources.iter().any(reads) {
                true => "the source topics are there; it has no Kafka sink",
                false => "it has neither a Kafka source nor a Kafka sink: there is no broker to ask",
            }
        );
        return Ok(());
    };
    check_one_cluster(pipeline)?;
    let report = kafka::check(&domain)?;
    report.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    println!("the broker at {} agrees", domain.cluster.brokers);
    Ok(())
}
