//! Typed state for per-record code: loaded and written back once per call, by key ordinal.

mod codec;
mod compact;
mod map;
mod value;

use std::any::TypeId;

use crate::Failure;

pub use codec::{Codec, Field, Json, Malformed};
pub use compact::{Compact, Items};
pub use map::{MapEntry, MapState};
pub use value::{ValueEntry, ValueState};

/// The states that a call has touched, by declaration index.
#[derive(Default)]
pub(crate) struct States {
    /// With the type of the values.
    values: Vec<Option<(TypeId, Box<dyn Cached>)>>,
    maps: Vec<map::Cache>,
}

/// A cache of one value state, whatever its type.
trait Cached {
    fn begin(&mut self);
    fn flush(&mut self);
}

impl States {
    #[inline]
    pub(crate) fn value<T: Codec + 'static>(&mut self, state: ValueState<T>, ord: u32) -> ValueEntry<'_, T> {
        let index = state.index as usize;
        if !matches!(self.values.get(index), Some(Some(_))) {
            self.add::<T>(state);
        }
        let Some(Some((ty, cache))) = self.values.get_mut(index) else { unreachable!("it was just added") };
        assert!(*ty == TypeId::of::<T>(), "a state is always used with the type of its declaration");
        let cache: *mut dyn Cached = &raw mut **cache;
        // SAFETY: a cache of this type was put there with this type id. (`Any` would ask through its table each time.)
        ValueEntry::new(unsafe { &mut *cache.cast::<value::Cache<T>>() }, ord)
    }

    #[cold]
    fn add<T: Codec + 'static>(&mut self, state: ValueState<T>) {
        let index = state.index as usize;
        if index >= self.values.len() {
            self.values.resize_with(index + 1, || None);
        }
        self.values[index] = Some((TypeId::of::<T>(), Box::new(value::Cache::<T>::new(state))));
    }

    #[inline]
    pub(crate) fn map<F: Field, V: Codec>(&mut self, state: MapState<F, V>, ord: u32) -> MapEntry<'_, F, V> {
        let index = state.index as usize;
        while index >= self.maps.len() {
            self.maps.push(map::Cache::new(self.maps.len() as u32));
        }
        MapEntry::new(&mut self.maps[index], ord, state.name)
    }

    pub(crate) fn begin(&mut self) {
        self.values.iter_mut().flatten().for_each(|(_, cache)| cache.begin());
        self.maps.iter_mut().for_each(map::Cache::begin);
    }

    pub(crate) fn flush(&mut self) {
        self.values.iter_mut().flatten().for_each(|(_, cache)| cache.flush());
        self.maps.iter_mut().for_each(map::Cache::flush);
    }
}

/// A value of state `name`, read as the type that it had and written as the one that it has.
fn rewrite<Old: Codec, New: Codec>(
    name: &str,
    mut value: &[u8],
    f: impl FnOnce(Old) -> Option<New>,
) -> Result<Option<Vec<u8>>, Failure> {
    let old = Old::decode(&mut value).ok().filter(|_| value.is_empty()).ok_or_else(|| {
        Failure::fatal(
            "malformed",
            format_args!("state `{name}` holds bytes that the type of its older version does not read"),
        )
    })?;
    Ok(f(old).map(|new| {
        let mut bytes = Vec::new();
        new.encode(&mut bytes);
        bytes
    }))
}
