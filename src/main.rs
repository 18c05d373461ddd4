//! The program: see the library's map.

use std::process::ExitCode;

fn main() -> ExitCode {
    zoom_archiver::cli::main()
}
