//! A pipeline that can be started: its file checked, its components compiled, its plan made. `Checked` is what `weir check`
//! knows without running anything; `Job` is that with a locked state folder.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use weir_core::domain::Start;
use weir_core::graph::fault::Fault;
use weir_core::graph::plan::{Authority, Plan, Ports};
use weir_core::graph::spec::{Guarantee, Node, OperatorRef, Pipeline, SinkKind};
use weir_core::ids::Name;

use super::folder::{self, Folder};
use super::place::{self, Place};
use super::savepoint;
use super::shards::Shards;
use super::snapshot_store::SnapshotStore;
use crate::clock;
use crate::guest::{self, Engine, Limits, Logs, Measured, Operator, Subtask};
use crate::journal::Journal;
use crate::state::{self, Budget};
use crate::storage::Memory;

/// Gives the bytes of an operator that is named `name@version`.
pub type Lookup<'a> = dyn Fn(&Name, &str) -> Result<Vec<u8>, String> + 'a;

/// A pipeline about which everything is known that can be known without running it.
pub struct Checked {
    /// What the user wrote.
    pub pipeline: Pipeline,
    /// How it will run.
    pub plan: Plan,
    /// The component of each node.
    pub operators: BTreeMap<Name, Operator>,
}

impl Checked {
    /// Loads the components, checks configurations and ports, and plans. All faults come back together.
    pub fn new(pipeline: Pipeline, engine: &Engine, lookup: Option<&Lookup<'_>>) -> Result<Checked, Vec<Fault>> {
        let (mut operators, mut faults) = (BTreeMap::new(), Vec::new());
        for node in &pipeline.nodes {
            let path = format!("nodes.{}.operator", node.name);
            match load(&node.operator, engine, lookup) {
                Ok(operator) => {
                    faults.extend(config_faults(node, &operator));
                    operators.insert(node.name.clone(), operator);
                }
                Err((code, message, help)) => {
                    let fault = Fault::error(code, path, message);
                    faults.push(match help {
                        Some(help) => fault.help(help),
                        None => fault,
                    });
                }
            }
        }
        let ports = |name: &Name| {
            operators.get(name).map(|operator| Ports {
                inputs: operator.descriptor().inputs.iter().map(|i| i.name.clone()).collect(),
                outputs: operator.descriptor().outputs.iter().map(|o| o.name.clone()).collect(),
            })
        };
        faults.extend(pipeline.nodes.iter().filter_map(|node| {
            let operator = operators.get(&node.name)?;
            shares_state(node, operator)
        }));
        match Plan::new(&pipeline, &ports) {
            Ok(plan) if faults.is_empty() => Ok(Checked { pipeline, plan, operators }),
            Ok(_) => Err(faults),
            Err(more) => {
                faults.extend(more);
                Err(faults)
            }
        }
    }

    /// What people call the operator of a node: as the registry knows it, or, of a file, as it calls itself.
    pub(super) fn operator_name(&self, node: &Name) -> String {
        let spec = self.pipeline.nodes.iter().find(|spec| spec.name == *node);
        match (spec.map(|spec| &spec.operator), self.operators.get(node).map(Operator::descriptor)) {
            (Some(OperatorRef::Path(_)) | None, Some(itself)) => format!("{}@{}", itself.name, itself.version),
            (Some(known), _) => known.to_string(),
            (None, None) => node.to_string(),
        }
    }

    /// What would stop the first start beyond that: files that are not there, operators that refuse their configuration.
    /// Whoever only deletes a pipeline need not ask.
    pub fn rehearse(self) -> Result<Checked, Vec<Fault>> {
        let faults = super::rehearsal::faults(&self);
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

/// Where a node's guest runs and what it may use.
pub(super) fn guest_settings(
    pipeline: &Pipeline,
    node: &Node,
    subtask: Subtask,
    measured: Arc<[Measured]>,
    logs: Logs,
) -> guest::Settings {
    let limits = &node.limits;
    guest::Settings {
        pipeline: pipeline.name.clone(),
        node: node.name.clone(),
        subtask,
        config: node.config.to_string(),
        secrets: node.secrets.iter().map(|(name, secret)| (name.clone(), secret.reveal().to_owned())).collect(),
        limits: Limits::new(limits.memory_bytes as usize, limits.call_timeout, limits.record_bytes_max as usize),
        measured,
        logs,
    }
}

type Refusal = (&'static str, String, Option<String>);

fn load(operator: &OperatorRef, engine: &Engine, lookup: Option<&Lookup<'_>>) -> Result<Operator, Refusal> {
    let bytes = match operator {
        OperatorRef::Path(path) => read_component(&path.resolved, &path.written)?,
        OperatorRef::Registry { name, version } => match lookup {
            None => {
                let help = format!(
                    "give the registry with --registry DIR, or upload {name}@{version} to a server and apply the pipeline there"
                );
                return Err((
                    "weir::operator::no_registry",
                    format!("`{name}@{version}` is a registry name, and there is no registry here"),
                    Some(help),
                ));
            }
            Some(lookup) => lookup(name, version).map_err(|why| ("weir::operator::unknown", why, None))?,
        },
    };
    Operator::load(engine, &bytes)
        .map_err(|refused| ("weir::operator::refused", format!("{operator}: {refused}"), None))
}

fn read_component(path: &Path, written: &str) -> Result<Vec<u8>, Refusal> {
    let metadata = std::fs::metadata(path).map_err(|e| {
        let help = "build it with `weir build` in the operator's crate".to_owned();
        ("weir::operator::unreadable", format!("cannot read the operator {written}: {e}"), Some(help))
    })?;
    if metadata.is_dir() {
        return Err((
            "weir::operator::unreadable",
            format!("{written} is a folder; an operator is a .wasm file"),
            None,
        ));
    }
    if metadata.len() > guest::COMPONENT_BYTES_MAX as u64 {
        let (bytes, max) = (metadata.len(), guest::COMPONENT_BYTES_MAX);
        return Err(("weir::operator::refused", format!("{written} has {bytes} bytes; the limit is {max}"), None));
    }
    std::fs::read(path)
        .map_err(|e| ("weir::operator::unreadable", format!("cannot read the operator {written}: {e}"), None))
}

/// No file sink writes into the state folder: rows there would go with what each start throws away.
fn check_sinks(pipeline: &Pipeline, state: &Path) -> Result<(), Error> {
    let resolved = |path: &Path| folder::resolved(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let folder = resolved(state);
    for sink in &pipeline.sinks {
        if let SinkKind::File { path } = &sink.kind
            && resolved(&path.resolved).starts_with(&folder)
        {
            let (sink, path) = (sink.name.clone(), path.written.clone());
            return Err(Error::SinkInState { sink, path, state: state.to_owned() });
        }
    }
    Ok(())
}

/// State belongs to keys: without one, subtasks would all own the same.
fn shares_state(node: &Node, operator: &Operator) -> Option<Fault> {
    let descriptor = operator.descriptor();
    let has_state = !descriptor.states.is_empty() || descriptor.calls("timers");
    if node.parallelism == 1 || !has_state || node.inputs.iter().all(|input| input.key.is_some()) {
        return None;
    }
    let message = format!("`{}` keeps state or timers, and its inputs have no key to share it by", node.operator);
    let path = format!("nodes.{}.parallelism", node.name);
    Some(Fault::error("weir::config::parallelism", path, message).help("give the node a `key`, or parallelism = 1"))
}

/// The parts of JSON Schema that an operator's config is checked against: required and known properties, and their types.
fn config_faults(node: &Node, operator: &Operator) -> Vec<Fault> {
    let Some(schema) = &operator.descriptor().config_schema else { return Vec::new() };
    let schema: serde_json::Value = match serde_json::from_str(schema) {
        Ok(schema) => schema,
        Err(_) => return Vec::new(),
    };
    super::config_schema::faults(&schema, &node.config, &format!("nodes.{}.config", node.name))
}

/// Why a pipeline cannot be started here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder is another's, locked, newer or damaged.
    #[error(transparent)]
    Folder(#[from] folder::Error),
    /// A file sink would write where state is thrown away and made anew.
    #[error("sink `{sink}`: {path} lies in the state folder {}: give it a folder outside of that", state.display())]
    SinkInState {
        /// The sink.
        sink: Name,
        /// Its path, as written.
        path: String,
        /// The state folder.
        state: PathBuf,
    },
    /// The pipeline would have its checkpoints in memory from now on, and there are others.
    #[error(
        "the state folder {} holds checkpoints on disk, which `storage = \"memory\"` would leave behind: write `storage = \"local\"` to go on from them, or give another --state to begin anew",
        state.display()
    )]
    OnDisk {
        /// The state folder.
        state: PathBuf,
    },
    /// What lies in the state folder cannot be read.
    #[error(transparent)]
    State(state::Error),
    /// The machine gives no random bits.
    #[error("reading random bits failed: {0}")]
    Random(io::Error),
}

/// A checked pipeline with its state folder.
pub struct Job {
    /// See [`Checked`].
    pub checked: Checked,
    /// The locked state folder.
    pub folder: Folder,
    /// Its snapshots.
    pub store: SnapshotStore,
    /// The memory that they lie in, if in any: for a later run in this process.
    pub(super) memory: Option<Arc<Memory>>,
    /// What the brokers' settings are warned of: once, not at each restart.
    pub(super) warned: Once,
    /// What it starts from, if not from what is committed.
    pub origin: Option<savepoint::Opened>,
    /// The user said where to start, be it from the newest commit: what was promised before binds nobody.
    pub origin_is_given: bool,
    /// State that nobody declares any more is left out.
    pub allows_non_restored: bool,
    /// The memory for state, shared with the other pipelines of the process.
    pub budget: Arc<Budget>,
    /// Where its shards run.
    pub(super) shards: Shards,
    /// What is kept of it for those who look: a new one, unless its runs share one.
    pub journal: Arc<Journal>,
}

impl Job {
    /// Locks the state folder. Nothing was written before.
    pub fn open(checked: Checked, state: &Path) -> Result<Job, Error> {
        Job::open_again(checked, state, None)
    }

    /// The same behind a run in this process, whose snapshots may lie in memory.
    pub(super) fn open_again(checked: Checked, state: &Path, kept: Option<Arc<Memory>>) -> Result<Job, Error> {
        check_sinks(&checked.pipeline, state)?;
        let folder = Folder::open(state, &checked.pipeline.name)?;
        Job::of(checked, folder, kept, None)
    }

    /// The same, to start from a savepoint: a state folder that is new continues its history.
    pub fn open_from(checked: Checked, state: &Path, origin: savepoint::Opened) -> Result<Job, Error> {
        check_sinks(&checked.pipeline, state)?;
        let folder = Folder::open_as(state, &checked.pipeline.name, Some(&origin.manifest().lineage))?;
        Job::of(checked, folder, None, Some(origin))
    }

    fn of(
        checked: Checked,
        mut folder: Folder,
        kept: Option<Arc<Memory>>,
        origin: Option<savepoint::Opened>,
    ) -> Result<Job, Error> {
        let lineage = origin.as_ref().map(|origin| origin.manifest().lineage.as_str());
        let Place { store, memory } = place::open(&mut folder, checked.pipeline.checkpoint.storage, kept, lineage)?;
        let budget = Budget::of_machine();
        Ok(Job {
            checked,
            folder,
            store,
            memory,
            warned: Once::new(),
            origin_is_given: origin.is_some(),
            origin,
            allows_non_restored: false,
            budget,
            shards: Shards::default(),
            journal: Arc::new(Journal::new(clock::now_millis())),
        })
    }

    /// Where a start from the savepoint begins.
    pub fn start_from_origin(&self, rewind: bool) -> Start {
        self.origin.as_ref().map_or(Start::Newest, |origin| Start::Savepoint {
            epoch: origin.manifest().epoch,
            token: origin.manifest().token,
            is_ours: origin.manifest().lineage == self.folder.lineage(),
            rewind,
        })
    }

    /// A start that came to nothing takes back the state folder that it made. Not behind a CLAIM in Kafka, which names this
    /// folder's lineage: without it the next start would take the commits for somebody else's.
    pub(super) fn undo(self, claimed: bool) {
        if self.checked.plan.authority == Authority::Current || !claimed {
            self.folder.take_back();
        }
    }

    /// What the user wrote.
    pub fn pipeline(&self) -> &Pipeline {
        &self.checked.pipeline
    }

    /// The first of its nodes that a message names in backticks, as ours do.
    pub(super) fn named_in(&self, message: &str) -> Option<Name> {
        let vertices = &self.checked.plan.vertices;
        let mut quoted = message.split('`').skip(1).step_by(2);
        quoted.find_map(|name| vertices.iter().find(|vertex| vertex.name.as_str() == name)).map(|it| it.name.clone())
    }

    /// Whether anything is committed at all.
    pub fn is_guaranteed(&self) -> bool {
        self.pipeline().checkpoint.guarantee != Guarantee::None
    }

    /// Transactional ids of the one domain, for ever the same.
    pub fn transactional_ids(&self) -> Vec<String> {
        match self.checked.plan.authority {
            Authority::Kafka(_) => vec![format!("weir.{}.0.a", self.pipeline().name)],
            Authority::Current => Vec::new(),
        }
    }
}
