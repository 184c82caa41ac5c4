//! What was promised about what is in a state folder: another `guarantee` is refused until the user says where to start.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use weir_tests::process::{Exit, Finished};
use weir_tests::redact::redact;

use crate::place::{Place, SOON};

const GUARANTEE: &str = "guarantee = \"at-least-once\"\n";

fn last_line(place: &Place, finished: &Finished) -> String {
    let here = place.path("").display().to_string();
    redact(finished.stderr.lines().last().unwrap_or_default(), &[(here.trim_end_matches('/'), "HERE")])
}

#[test]
fn changed_guarantee_is_refused_with_both_until_the_start_is_named() {
    let place = Place::of_ledger("50ms", 4_000, 4_000);
    place.run().crash_at("epoch.advanced", 3).finish(SOON).expect(Exit::KILLED);
    let exactly = fs::read_to_string(place.path("p.toml")).unwrap();
    let at_least = exactly.replace("[checkpoint]\n", &format!("[checkpoint]\n{GUARANTEE}"));
    place.pipeline(&at_least);
    let before = place.content();
    let refused = place.finish().expect(Exit::Code(6));
    insta::assert_snapshot!(last_line(&place, &refused));
    let unlocked = |mut content: BTreeMap<PathBuf, _>| {
        content.retain(|path, _| !path.ends_with("lock") && !path.starts_with("state/live"));
        content
    };
    assert!(unlocked(place.content()) == unlocked(before), "touched\n{refused}");
    // What is named is remembered: the run behind it need not name it again.
    let named = place.run().argument("--from").argument("latest").crash_at("epoch.advanced", 2).finish(SOON);
    named.expect(Exit::KILLED);
    place.pipeline(&exactly);
    place.finish().expect(Exit::Code(6));
    place.pipeline(&at_least);
    place.finish().expect_success();
}
