//! What went wrong, for whoever typed the command: the sentence, the code to search for, and what to do.

use tonic::Status;
use tonic_types::StatusExt as _;

pub(super) fn print(failure: &anyhow::Error) {
    match failure.downcast_ref::<Status>() {
        Some(status) => eprintln!("{}", describe(status)),
        None => {
            eprintln!("error: {failure}");
            for cause in failure.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
        }
    }
}

/// The stable code, or gRPC's where the error is not the product's own.
pub(super) fn code(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().map_or_else(|| format!("{:?}", status.code()), |info| info.reason.clone())
}

fn describe(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    let code = code(status);
    let mut text = format!("error: {} ({code})", status.message());
    for name in ["decision", "command_id", "expected_revision", "found_revision"] {
        if let Some(value) = info.and_then(|info| info.metadata.get(name)) {
            text.push_str(&format!("\n  {name}: {value}"));
        }
    }
    if let Some(hint) = hint(&code) {
        text.push_str(&format!("\n  hint: {hint}"));
    }
    text
}

fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "NO_CREDENTIALS" => "set ONLY1MCP_KEY, or use --key-file, or --cert with --cert-key",
        "OUTCOME_UNKNOWN" => "it may have happened: repeat the command with --command-id and the id above",
        "UNAVAILABLE" => "nothing was changed; `ctl cluster status` shows which nodes are reachable",
        "STALE" => "ask another node, allow more with --staleness-max, or use --consistency linearizable",
        "REVISION_MISMATCH" => "show the record again, then repeat with its present revision",
        "NO_PERMISSION" => "`ctl decide explain --permission NAME` says what would have to be granted",
        "COMMAND_ID_CONFLICT" => "use a new --command-id for another request",
        "SECRET_NOT_RECOVERABLE" => "`ctl key rotate` makes a new secret",
        "RECORD_OUTSIDE" => {
            "the message names the event: `--to-index` with it, or without, which is up to the newest"
        }
        "SEGMENT_REPLACED" => "`ctl backup create` once more, without --command-id",
        "PAGE_TOKEN_STALE" => "the list was too slow to read: start it again",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn an_error_shows_code_message_and_hint() {
        let facts = [("command_id".to_owned(), "ab".repeat(16))];
        let details = ErrorDetails::with_error_info("OUTCOME_UNKNOWN", "only1mcp", facts);
        let status =
            Status::with_error_details(tonic::Code::DeadlineExceeded, "the outcome is unknown", details);
        let text = describe(&status);
        assert!(text.starts_with("error: the outcome is unknown (OUTCOME_UNKNOWN)"), "{text}");
        assert!(text.contains("command_id: abab") && text.contains("--command-id"), "{text}");
    }
}
