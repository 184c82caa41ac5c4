//! An upgrade, as a host does it at a start: state finds its place by its name, and values of older schema versions go through
//! `migrate`.

use super::TestHost;
use super::world::Kept;
use crate::descriptor::StateDecl;
use crate::{Failure, Operator};

/// A state of the version before, and its place in the one that comes.
struct Moved {
    from: u32,
    to: u32,
    /// The version that its values have, where they are rewritten.
    migrated: Option<u32>,
}

impl<O: Operator> TestHost<O> {
    /// The state and the timers under another version of the operator. States that it does not declare are left out; one of
    /// another kind, of an older version, or of a newer one without [`Descriptor::migrates`](crate::Descriptor::migrates) is
    /// an error.
    pub fn upgrade<N: Operator>(self, config: &str) -> Result<TestHost<N>, Failure> {
        let mut next = TestHost::<N>::open(config)?;
        let Kept { values, maps, timers, .. } = self.world.kept;
        for (at, state) in (0..).zip(&self.world.descriptor.states) {
            let Some(Moved { from, to, migrated }) = next.place_of(at, state)? else { continue };
            for ((_, key), value) in values.iter().filter(|((state, _), _)| *state == from) {
                if let Some(value) = next.moved(to, migrated, value)? {
                    next.world.kept.values.insert((to, key.clone()), value);
                }
            }
            for ((_, key, field), value) in maps.iter().filter(|((state, ..), _)| *state == from) {
                if let Some(value) = next.moved(to, migrated, value)? {
                    next.world.kept.maps.insert((to, key.clone(), field.clone()), value);
                }
            }
        }
        next.world.kept.timers = timers;
        (next.world.watermark, next.world.now) = (self.world.watermark, self.world.now);
        Ok(next)
    }

    fn place_of(&self, from: u32, before: &StateDecl) -> Result<Option<Moved>, Failure> {
        let descriptor = &self.world.descriptor;
        let found = (0..).zip(&descriptor.states).find(|(_, state)| state.name == before.name);
        let Some((to, now)) = found else { return Ok(None) };
        let refused = |why: &str| {
            Err(Failure::fatal(
                "state",
                format_args!(
                    "state `{}` is v{} ({}); {}@{} declares v{} ({}){why}",
                    now.name, before.version, before.kind, descriptor.name, descriptor.version, now.version, now.kind
                ),
            ))
        };
        match () {
            () if before.kind != now.kind => refused(", and no migration changes the kind"),
            () if before.version > now.version => refused(", which is older"),
            () if before.version == now.version => Ok(Some(Moved { from, to, migrated: None })),
            () if descriptor.callbacks.contains(&"migrate") => {
                Ok(Some(Moved { from, to, migrated: Some(before.version) }))
            }
            () => refused(" and no migration"),
        }
    }

    fn moved(&mut self, state: u32, from_version: Option<u32>, value: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        match from_version {
            None => Ok(Some(value.to_vec())),
            Some(version) => Ok(self.migrate(state, version, &[Some(value.to_vec())])?.pop().flatten()),
        }
    }
}
