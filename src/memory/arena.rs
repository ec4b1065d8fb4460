//! One arena for the allocator of glibc.
//!
//! By default every thread allocates from an arena of its own, and what one arena has free is no
//! use to another. A cache is the worst case: its entries are made by whichever thread read them,
//! and leave in another order. Measured with a full cache of 256 MiB, entries of 100 B to 100 KB:
//! 11 to 20 % more resident memory than the cache and the rest of the process account for, and
//! with one arena 2 to 4 %. glibc reads the setting when a process starts, and changing it later
//! takes a call that Rust calls unsafe; so the program starts itself again, once.
//!
//! What is large goes back to the system as soon as it is freed. By default glibc stops doing that
//! after the first such piece, and buffers of large replies would leave holes among the entries.

/// Starts the program again with one arena, in the same process. Does nothing where the setting
/// has been made by the user, or where the allocator isn't glibc's.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn use_one_arena() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let is_set = |key: &str| env::var_os(key).is_some();
    if is_set(ARENAS) || is_set("GLIBC_TUNABLES") {
        return;
    }
    let mut arguments = env::args_os();
    let (Some(name), Ok(program)) = (arguments.next(), env::current_exe()) else {
        return;
    };
    // It returns only if it fails; then all goes on, in more memory.
    let _ = Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(ARENAS, "1")
        .env(
            MAPPED,
            env::var_os(MAPPED).unwrap_or_else(|| "1048576".into()),
        )
        .exec();
}

/// Does nothing: the allocator isn't glibc's.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn use_one_arena() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: &str = "MALLOC_ARENA_MAX";
/// Bytes from which a piece is mapped by itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED: &str = "MALLOC_MMAP_THRESHOLD_";
