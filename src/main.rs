//! The `petiole` program; everything is in the library.

fn main() -> std::process::ExitCode {
    petiole::cli::main()
}
