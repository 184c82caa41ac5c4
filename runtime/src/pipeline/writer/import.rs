//! A savepoint, or a checkpoint of another state folder, becomes a snapshot of this one: its files are copied under our
//! token, and checked on the way. What it comes from is never changed.

use weir_core::checkpoint::manifest::{CommitKind, VERSION};
use weir_core::domain::{Class, Fact, Failure};
use weir_core::graph::spec::SinkKind;
use weir_core::ids::{Epoch, Token};

use super::thread::positions;
use super::{Writer, failure, io};
use crate::clock;
use crate::pipeline::savepoint::copy_checked;
use crate::state::{FILES, stored_name};

impl Writer<'_> {
    /// Makes a durable snapshot of what the job starts from.
    pub(in crate::pipeline) fn import(&self, epoch: Epoch, token: Token) -> Result<Fact, Failure> {
        let job = self.job;
        let origin = job.origin.as_ref().ok_or_else(|| Failure {
            class: Class::Bug,
            why: "a savepoint is imported, and none was opened".to_owned(),
        })?;
        let mut manifest = origin.manifest().clone();
        if let Some(part) = self.folders.part_from(epoch).map_err(|e| io(&e))? {
            let why = format!(
                "{} is newer than {}-{}: its rows would be emitted a second time, under the same name; move the parts behind \
                 that epoch away, or give the sink another `path`",
                part.display(),
                manifest.epoch,
                manifest.token
            );
            return Err(Failure { class: Class::Config, why });
        }
        self.folders.forget_newest();
        let storage = job.store.storage();
        // One that an attempt of before left half copied has its name.
        let temporary = storage.staging().join(format!("{token}-tmp-0"));
        for file in manifest.files_mut() {
            let from = origin.file(file);
            file.stored = format!("{token}-{}", file.sha256);
            let name = stored_name(file);
            let stored = storage.length(&name).map_err(|e| failure(&e.into()))?;
            // Two names of RocksDB's may have one content.
            if stored.is_some() {
                continue;
            }
            let _ = std::fs::remove_file(&temporary);
            copy_checked(&from, &temporary, file).map_err(|why| Failure { class: Class::Halt, why })?;
            storage.adopt(&temporary, &name).map_err(|e| failure(&e.into()))?;
        }
        storage.sync(FILES).map_err(|e| failure(&e.into()))?;
        // What was published with it is published; a kill may have come between.
        manifest.parts.retain(|part| {
            let sink = job.pipeline().sink(part.sink.as_str());
            sink.is_some_and(|sink| matches!(sink.kind, SinkKind::File { .. }))
        });
        manifest.version = VERSION;
        manifest.lineage = job.folder.lineage().to_owned();
        (manifest.epoch, manifest.token, manifest.kind) = (epoch, token, CommitKind::Rewind);
        manifest.created_at = (clock::now_millis() / 1000) as u64;
        let prepared = job.store.prepare(&manifest).map_err(|e| failure(&e))?;
        Ok(Fact::Prepared {
            snapshot: prepared.snapshot().clone(),
            files: manifest.files().map(|file| file.stored.clone()).collect(),
            positions: positions(&manifest),
        })
    }
}
