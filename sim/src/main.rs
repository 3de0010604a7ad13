//! The command `seedbed`; everything is in the library.

fn main() -> std::process::ExitCode {
    sim::cli::main()
}
