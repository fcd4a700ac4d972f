//! The `rowfall` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: rowfall::allocator::Allocator = rowfall::allocator::Allocator;

fn main() -> ExitCode {
    rowfall::cli::main()
}
