//! What glibc's allocator is told.
//!
//! One arena: by default every thread allocates from an arena of its own, and what one arena has free is
//! no use to another. A cache is the worst case: its entries are made by whichever thread read them,
//! and leave in another order. Measured with a full cache of 256 MiB, entries of 100 B to 100 KB:
//! 11 to 20 % more resident memory than the cache and the rest of the process account for, and
//! with one arena 2 to 4 %.
//!
//! What is large goes back to the system as soon as it is freed. By default glibc stops doing that
//! after the first such piece, and buffers of large replies would leave holes among the entries.
//!
//! A thread keeps more small pieces for itself: a batch of writes frees what all its clients had at once, and
//! by default all but seven pieces of a size go back to the arena, under its lock.
//!
//! glibc reads these settings when a process starts, and changing them later takes a call that Rust
//! calls unsafe; so the program starts itself again, once.

/// Starts the program again with these settings, in the same process. Does nothing where the user has made
/// such settings, or where the allocator isn't glibc's.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn tune_allocator() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let is_set = |key: &&str| env::var_os(key).is_some();
    if USERS.iter().any(is_set) || is_set(&TUNABLES) {
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
        .env(TUNABLES, SETTINGS)
        .exec();
}

/// Does nothing: the allocator isn't glibc's.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn tune_allocator() {}

/// Where glibc looks for its settings.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Arenas; bytes from which a piece is mapped by itself; pieces of one size (up to 1 KiB) that a thread keeps.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SETTINGS: &str =
    "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=1048576:glibc.malloc.tcache_count=64";

/// The older way to say some of it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const USERS: [&str; 2] = ["MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_"];
