//! How commands speak to people: progress on standard error, results on standard output.

use std::fmt::Display;
use std::process::ExitCode;

/// Says what is being done.
pub fn progress(text: impl Display) {
    eprintln!("{text}");
}

/// Says what went wrong, cause by cause, and gives the exit code of a failure.
pub fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    ExitCode::FAILURE
}
