//! The `petiole` program; everything is in the library.

fn main() -> std::process::ExitCode {
    petiole::memory::use_one_arena();
    petiole::cli::main()
}
