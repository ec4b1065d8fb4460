//! What needs no mongod; the rest is in `tests/it/embedded.rs`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::deployment::escape;
use super::find::{cache_dir_from, check_loads, configured, in_path, is_loader_failure};
use super::*;

fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
    let (source, path) = (dir.join("source"), dir.join(name));
    fs::write(&source, format!("#!/bin/sh\n{text}\n")).unwrap();
    // By another process: a child that some other test forks just now would inherit our open file, and then it is "busy".
    let mut install = Command::new("install");
    let installed = install.args(["-m", "755"]).args([&source, &path]).status();
    assert!(installed.unwrap().success(), "{install:?}");
    path
}

#[test]
fn a_configured_mongod_that_cannot_be_run_is_refused_rather_than_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    fs::write(&plain, "not a program").unwrap();
    for path in [plain, dir.path().to_owned(), dir.path().join("absent")] {
        let result = configured(Some(path.clone().into_os_string()));
        assert!(
            matches!(result, Err(EmbeddedError::NotExecutable { path: named }) if named == path)
        );
    }
    let good = script(dir.path(), "good", "exit 0");
    assert_eq!(configured(Some(good.clone().into())).unwrap(), Some(good));
    assert_eq!(configured(Some(OsString::new())).unwrap(), None);
    assert_eq!(configured(None).unwrap(), None);
}

#[test]
fn the_first_executable_mongod_in_path_is_taken() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let path = std::env::join_paths(dirs.iter().map(|dir| dir.path())).unwrap();
    assert_eq!(in_path(Some(path.clone())), None);
    fs::write(dirs[0].path().join("mongod"), "not executable").unwrap();
    let second = script(dirs[1].path(), "mongod", "exit 0");
    script(dirs[2].path(), "mongod", "exit 0");
    assert_eq!(in_path(Some(path)), Some(second));
    assert_eq!(in_path(None), None);
}

#[test]
fn the_cache_directory_follows_the_variables_in_order() {
    let all = [
        ("PETIOLE_CACHE_DIR", "/a"),
        ("XDG_CACHE_HOME", "/b"),
        ("HOME", "/c"),
    ];
    let expected = ["/a", "/b/petiole", "/c/.cache/petiole"];
    for (skipped, expected) in expected.into_iter().enumerate() {
        let dir = cache_dir_from(|name| {
            let (_, value) = all.iter().skip(skipped).find(|(key, _)| *key == name)?;
            Some(OsString::from(value))
        });
        assert_eq!(dir, PathBuf::from(expected));
    }
    assert!(cache_dir_from(|_| None).starts_with(std::env::temp_dir()));
}

#[test]
fn a_missing_library_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let mongod = script(
        dir.path(),
        "mongod",
        "echo 'mongod: error while loading shared libraries: libcrypto.so.3: cannot open shared \
         object file: No such file or directory' >&2; exit 127",
    );
    let error = check_loads(&mongod).unwrap_err().to_string();
    assert!(error.contains("libcrypto.so.3"), "{error}");
    assert!(
        error.contains("apt-get install libssl3 libcurl4"),
        "{error}"
    );
    assert!(is_loader_failure(
        "mongod: /lib/libc.so.6: version `GLIBC_2.34' not found (required by mongod)"
    ));

    let broken = script(dir.path(), "broken", "echo 'bad option' >&2; exit 2");
    let error = check_loads(&broken).unwrap_err();
    assert!(matches!(error, EmbeddedError::Command { output, .. } if output == "bad option"));
}

#[test]
fn a_wheel_with_another_hash_is_refused() {
    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "abc").unwrap();
    wheel::check_hash(file.path(), OF_ABC).unwrap();
    fs::write(file.path(), "abd").unwrap();
    let error = wheel::check_hash(file.path(), OF_ABC).unwrap_err();
    assert!(matches!(
        error,
        EmbeddedError::WrongHash {
            expected: OF_ABC,
            ..
        }
    ));
}

#[test]
fn an_unknown_machine_has_no_wheel() {
    assert!(wheel::for_machine("linux", "x86_64").is_ok());
    assert!(wheel::for_machine("linux", "aarch64").is_ok());
    for (os, arch) in [("linux", "riscv64"), ("macos", "aarch64")] {
        let result = wheel::for_machine(os, arch);
        assert!(matches!(result, Err(EmbeddedError::NoWheel { .. })));
    }
}

#[test]
fn ports_are_never_handed_out_twice() {
    let mut ports = free_ports(40).unwrap();
    ports.extend(free_ports(40).unwrap());
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 80);
}

#[test]
fn a_name_in_a_connection_string_is_escaped() {
    assert_eq!(escape("aZ9-._~"), "aZ9-._~");
    assert_eq!(escape("p@ss:w/rd%é"), "p%40ss%3Aw%2Frd%25%C3%A9");
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process that appends its signals to `caught` in its directory.
fn trapping(root: &Path) -> (Process, PathBuf) {
    let dir = root.join("child");
    fs::create_dir(&dir).unwrap();
    let program = script(
        root,
        "program",
        "trap 'echo term >>\"$1/caught\"' TERM; echo up >\"$1/caught\"; \
         exec 3<>\"$1/pipe\"; while :; do read -r line <&3; done",
    );
    let made = std::process::Command::new("mkfifo")
        .arg(dir.join("pipe"))
        .status();
    assert!(made.unwrap().success());
    let process = Process::start(&program, &[&dir], &dir.join("out"), &dir).unwrap();
    let caught = dir.join("caught");
    until("the program is up", || {
        fs::read(&caught).is_ok_and(|text| text == b"up\n")
    });
    (process, caught)
}

#[test]
fn signals_reach_the_process() {
    let root = tempfile::tempdir().unwrap();
    let (mut process, caught) = trapping(root.path());
    assert!(process.signal(Signal::Stop));
    assert!(process.signal(Signal::Term));
    assert_eq!(fs::read_to_string(&caught).unwrap(), "up\n");
    assert!(process.signal(Signal::Cont));
    until("TERM is handled", || {
        fs::read_to_string(&caught).unwrap() == "up\nterm\n"
    });
    assert_eq!(process.ended(), None);
    assert_eq!(process.kill().unwrap().code(), Some(128 + 9));
    assert!(!process.signal(Signal::Term));
    assert!(caught.exists(), "a killed process keeps its directory");
}

#[test]
fn a_dropped_process_is_gone_with_its_directory() {
    let root = tempfile::tempdir().unwrap();
    let (process, caught) = trapping(root.path());
    drop(process);
    assert!(!caught.exists());
    assert!(!root.path().join("child").exists());
    assert!(root.path().join("program").exists());
}

#[test]
fn a_program_that_does_not_exist_ends_with_status_127() {
    let root = tempfile::tempdir().unwrap();
    let output = root.path().join("out");
    let child = root.path().join("child");
    let absent = root.path().join("absent");
    let mut process = Process::start(&absent, &[""; 0], &output, &child).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(127));
    assert!(fs::read_to_string(&output).unwrap().contains("absent"));
}
