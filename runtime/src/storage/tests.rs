//! What every store promises, over each of them; and what a folder on disk looks like meanwhile.

use std::fs;

use tempfile::tempdir;

use super::*;

/// Runs a test over an empty store of each kind. The folder is for files of the test's own; a store stages in it.
fn check(test: impl Fn(&dyn Storage, &Path)) {
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("files")).unwrap();
    test(&Local::new(dir.path()), dir.path());
    let dir = tempdir().unwrap();
    test(&Memory::new(dir.path()).unwrap(), dir.path());
}

/// A finished file in the store's staging folder.
fn staged(storage: &dyn Storage, bytes: &[u8]) -> PathBuf {
    let file = storage.staging().join("1-tmp-1");
    fs::write(&file, bytes).unwrap();
    file
}

fn names(storage: &dyn Storage, folder: &str) -> Vec<(String, Option<u64>)> {
    storage.list(folder).unwrap().into_iter().map(|entry| (entry.name, entry.bytes)).collect()
}

#[test]
fn a_name_is_put_once_and_keeps_what_was_put_first() {
    check(|storage, _| {
        storage.put_new("7-3/manifest", b"first").unwrap();
        assert!(matches!(storage.put_new("7-3/manifest", b"second"), Err(Error::Exists(_))));
        assert_eq!(storage.get("7-3/manifest").unwrap(), b"first");
        assert_eq!(names(storage, "7-3"), [("manifest".to_owned(), Some(5))], "nothing else is left");
        storage.put_new("8-3/manifest", b"another").unwrap();
        assert_eq!(storage.get("8-3/manifest").unwrap(), b"another");
    });
}

#[test]
fn a_plain_put_replaces() {
    check(|storage, _| {
        storage.put_new("7-3/manifest", b"m").unwrap();
        storage.put("7-3/committed", b"long").unwrap();
        storage.put("7-3/committed", b"no").unwrap();
        assert_eq!(storage.get("7-3/committed").unwrap(), b"no");
        assert_eq!(storage.length("7-3/committed").unwrap(), Some(2));
    });
}

#[test]
fn a_file_that_is_taken_in_is_gone_from_where_it_was_and_there_by_its_name() {
    check(|storage, _| {
        for _ in 0..2 {
            // Twice: the same name is the same content.
            let file = staged(storage, b"state");
            storage.adopt(&file, "files/1-a").unwrap();
            assert!(!file.exists());
        }
        storage.sync("files").unwrap();
        assert_eq!(storage.get("files/1-a").unwrap(), b"state");
        assert_eq!(storage.length("files/1-a").unwrap(), Some(5));
    });
}

#[test]
fn a_range_is_cut_where_the_bytes_end() {
    check(|storage, _| {
        storage.put_new("1-1/manifest", b"0123456789").unwrap();
        let range = |from, to| storage.get_range("1-1/manifest", from..to).unwrap();
        assert_eq!(range(0, 3), b"012");
        assert_eq!(range(3, 10), b"3456789");
        assert_eq!(range(8, 99), b"89");
        assert_eq!(range(10, 20), b"");
        assert_eq!(range(50, 60), b"");
        assert_eq!(range(4, 4), b"");
    });
}

#[test]
fn what_is_not_there_is_missing_by_name_and_its_deletion_is_no_error() {
    check(|storage, dir| {
        for name in ["files/1-a", "7-3/manifest"] {
            assert_eq!(storage.length(name).unwrap(), None);
            let missing = [
                storage.get(name).map(drop),
                storage.get_range(name, 0..1).map(drop),
                storage.bring_out(name, &dir.join("out")),
            ];
            for error in missing.map(Result::unwrap_err) {
                assert!(matches!(&error, Error::Missing(path) if path.ends_with(storage.place(name))), "{error}");
            }
            assert!(!storage.delete(name).unwrap());
        }
        storage.delete_folder("7-3").unwrap();
        assert_eq!(names(storage, "7-3"), []);
        assert!(!dir.join("out").exists());
    });
}

#[test]
fn a_list_has_what_lies_directly_in_a_folder_sorted_with_its_length() {
    check(|storage, _| {
        storage.put_new("10-1/manifest", b"m").unwrap();
        storage.put("10-1/committed", b"").unwrap();
        storage.put_new("9-1/manifest", b"mm").unwrap();
        storage.adopt(&staged(storage, b"abc"), "files/1-a").unwrap();
        let folder = |name: &str| (name.to_owned(), None);
        assert_eq!(names(storage, ""), [folder("10-1"), folder("9-1"), folder("files")]);
        assert_eq!(names(storage, "10-1"), [("committed".to_owned(), Some(0)), ("manifest".to_owned(), Some(1))]);
        assert_eq!(names(storage, "files"), [("1-a".to_owned(), Some(3))]);
        // A beginning of a name is no folder.
        assert_eq!(names(storage, "1"), []);
        assert_eq!(names(storage, "10"), []);
    });
}

#[test]
fn what_is_deleted_is_gone_and_its_folder_with_the_last_of_it() {
    check(|storage, _| {
        storage.put_new("7-3/manifest", b"m").unwrap();
        storage.put("7-3/committed", b"c").unwrap();
        assert!(storage.delete("7-3/manifest").unwrap());
        storage.delete_folder("7-3").unwrap();
        assert_eq!(names(storage, "7-3"), [("committed".to_owned(), Some(1))], "something lies in it");
        assert!(storage.delete("7-3/committed").unwrap() && !storage.delete("7-3/committed").unwrap());
        storage.delete_folder("7-3").unwrap();
        assert!(names(storage, "").iter().all(|(name, _)| name != "7-3"));
    });
}

#[test]
fn what_is_brought_out_equals_what_was_taken_in_and_outlives_it() {
    check(|storage, dir| {
        let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_be_bytes).collect();
        storage.adopt(&staged(storage, &bytes), "files/1-a").unwrap();
        let out = dir.join("out");
        storage.bring_out("files/1-a", &out).unwrap();
        assert!(storage.bring_out("files/1-a", &out).is_err(), "a path that something has is not taken");
        assert!(storage.delete("files/1-a").unwrap());
        assert_eq!(fs::read(&out).unwrap(), bytes);
    });
}

#[test]
fn two_who_put_one_name_at_once_do_not_both_believe_that_it_is_theirs() {
    check(|storage, _| {
        for round in 0..50 {
            let name = format!("{round}-1/manifest");
            let put = |by: u8| storage.put_new(&name, &[by; 1000]);
            let [a, b] = std::thread::scope(|scope| [1, 2].map(|by| scope.spawn(move || put(by))).map(|it| it.join()));
            let won = [a.unwrap().is_ok(), b.unwrap().is_ok()];
            assert_ne!(won[0], won[1], "{round}");
            assert_eq!(storage.get(&name).unwrap(), [if won[0] { 1 } else { 2 }; 1000]);
        }
    });
}

#[test]
fn in_a_folder_a_file_is_taken_in_and_brought_out_without_a_copy() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("files")).unwrap();
    let storage = Local::new(dir.path());
    let file = staged(&storage, b"state");
    let inode = fs::metadata(&file).unwrap().ino();
    storage.adopt(&file, "files/1-a").unwrap();
    storage.bring_out("files/1-a", &dir.path().join("out")).unwrap();
    for path in ["files/1-a", "out"] {
        assert_eq!(fs::metadata(dir.path().join(path)).unwrap().ino(), inode, "{path}");
    }
}

#[test]
fn what_a_killed_put_left_in_a_folder_does_not_become_a_name() {
    let dir = tempdir().unwrap();
    let storage = Local::new(dir.path());
    fs::create_dir(dir.path().join("7-3")).unwrap();
    fs::write(dir.path().join("7-3/manifest.tmp"), "{").unwrap();
    assert_eq!(storage.length("7-3/manifest").unwrap(), None);
    assert!(matches!(storage.put_new("7-3/manifest", b"m"), Err(Error::Exists(_))), "somebody may be at it");
    assert!(!dir.path().join("7-3/manifest").exists());
}
