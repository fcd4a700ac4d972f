//! The `rowfall` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    rowfall::cli::main()
}
