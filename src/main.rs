//! Arguments and environment are handed down from here, and it is the only place that exits.

use std::process::ExitCode;

use countersign::command;

/// For speed: a Check allocates and frees a handful of small buffers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "main hands the environment down")]
    let environment = std::env::vars_os().collect();
    command::run(std::env::args_os(), environment)
}
