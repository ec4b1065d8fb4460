//! The `petiole` program; everything is in the library.

fn main() -> std::process::ExitCode {
    petiole::memory::tune_allocator();
    petiole::cli::main()
}
