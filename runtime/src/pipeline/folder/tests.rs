//! The folder over real file systems: who gets it, who is refused, and that a refusal touches nothing.

use std::io::Read;

use tempfile::tempdir;

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Everything below a folder with its content, to see that nothing was touched.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = (fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()))
        .flat_map(|p| if p.is_dir() { content(&p) } else { vec![(p.clone(), fs::read(&p).unwrap())] })
        .collect();
    found.sort();
    found
}

#[test]
fn a_new_folder_is_taken_and_opened_again_by_its_pipeline() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a/.weir/a");
    drop(Folder::open(&path, &name("a")).unwrap());
    let folder = Folder::open(&path, &name("a")).unwrap();
    assert!(folder.files().is_dir() && folder.live().is_dir());
}

#[test]
fn a_locked_folder_names_the_process_that_has_it() {
    let dir = tempdir().unwrap();
    let held = Folder::open(dir.path(), &name("a")).unwrap();
    match Folder::open(dir.path(), &name("a")) {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(held);
    Folder::open(dir.path(), &name("a")).unwrap();
}

#[test]
fn a_folder_locked_by_another_process_is_refused_until_that_process_is_gone() {
    let dir = tempdir().unwrap();
    drop(Folder::open(dir.path(), &name("a")).unwrap());
    let lock = dir.path().join("lock");
    // Without a fork: one process holds the lock, and ends when it is killed.
    let mut holder = std::process::Command::new("flock")
        .args(["--no-fork".as_ref(), lock.as_os_str(), "sh".as_ref(), "-c".as_ref()])
        .arg("echo ready; exec sleep 600")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("flock of util-linux");
    let mut ready = [0; 5];
    holder.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert!(matches!(Folder::open(dir.path(), &name("a")), Err(Error::Locked { .. })));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let deadline = clock::now() + std::time::Duration::from_secs(10);
    while Folder::open(dir.path(), &name("a")).is_err() {
        assert!(clock::now() < deadline, "the lock of a dead process is free");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_not_this_pipelines_is_refused_by_name_and_not_touched() {
    let check = |prepare: &dyn Fn(&Path), expected: &str| {
        let dir = tempdir().unwrap();
        prepare(dir.path());
        let before = content(dir.path());
        let error = Folder::open(dir.path(), &name("a")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(content(dir.path()), before);
    };
    let format = |text: &'static str| move |dir: &Path| fs::write(dir.join("format"), text).unwrap();
    check(&|dir| drop(Folder::open(dir, &name("b")).unwrap()), "belongs to the pipeline b, not to a");
    check(&format(r#"{"version": 2, "pipeline": 7}"#), "has format 2, this weir reads up to 1");
    check(&format("{}"), "format is damaged: missing field `version`");
    check(&format("x"), "format is damaged");
    check(&|dir| fs::write(dir.join("thesis.tex"), "x").unwrap(), "it holds \"thesis.tex\"");
}

#[test]
fn a_start_that_died_before_the_format_was_written_is_taken_up() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("lock"), "1\n").unwrap();
    fs::write(dir.path().join("format.x1.tmp"), "{").unwrap();
    Folder::open(dir.path(), &name("a")).unwrap();
    assert!(!dir.path().join("format.x1.tmp").exists());
    assert!(Folder::inspect(dir.path(), &name("a")).unwrap());
}

#[test]
fn a_file_in_the_place_of_the_folder_is_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("x");
    fs::write(&path, "x").unwrap();
    assert!(matches!(Folder::open(&path, &name("a")), Err(Error::Foreign { .. })));
}

#[test]
fn a_first_start_takes_back_what_it_made_and_nothing_else() {
    let dir = tempdir().unwrap();
    let path = dir.path().join(".weir/a");
    let start = || Folder::open(&path, &name("a")).unwrap();
    let folder = start();
    fs::write(folder.current(), "a claim").unwrap();
    folder.take_back();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    // An empty folder that was there stays.
    fs::create_dir_all(&path).unwrap();
    start().take_back();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);

    // State came into it.
    let folder = start();
    fs::write(folder.files().join("1-tmp-1"), "").unwrap();
    let before = content(&path);
    folder.take_back();
    assert_eq!(content(&path), before);

    // It is not a first start.
    fs::remove_file(path.join("checkpoints/files/1-tmp-1")).unwrap();
    let before = content(&path);
    start().take_back();
    assert_eq!(content(&path), before);
}
