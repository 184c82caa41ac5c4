//! The manifest of a snapshot or a savepoint, which may come from another machine: refused with a sentence, or read as what it
//! says, whole, and with room for the epochs that follow.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use weir_core::checkpoint::commit::{Claim, Commit};
use weir_core::checkpoint::manifest::{Manifest, Unreadable, VERSION};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // What lies beside it in the authority: the same rules, in fewer words.
    if let Ok(commit) = serde_json::from_slice::<Commit>(bytes) {
        assert!(commit.epoch < commit.epoch.next());
        again(&commit);
    }
    if let Ok(claim) = serde_json::from_slice::<Claim>(bytes) {
        again(&claim);
    }
    let manifest = match Manifest::decode(bytes) {
        Ok(manifest) => manifest,
        Err(Unreadable::Newer(found)) => {
            assert!(found > VERSION);
            return Corpus::Keep;
        }
        Err(Unreadable::Damaged(error)) => {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            assert!(error.line() <= lines, "line {} of {lines}", error.line());
            return Corpus::Keep;
        }
    };
    assert!(manifest.version <= VERSION);
    assert!(manifest.epoch < manifest.epoch.next());
    let written = manifest.encode().expect("what was read can be written");
    assert_eq!(Manifest::decode(&written).expect("what was written can be read"), manifest);
    assert_eq!(manifest.clone().encode().expect("as before"), written, "it is written in one way");
    for node in manifest.nodes.values() {
        for state in node.states.values() {
            assert!(manifest.name_of_state(state.id).is_some());
        }
    }
    Corpus::Keep
});

fn again<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(record: &T) {
    let written = serde_json::to_vec(record).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("what was written can be read"), *record);
}
