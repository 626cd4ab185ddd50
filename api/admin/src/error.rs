//! The one map from what went wrong to `tonic::Status`: a stable code, a public sentence, a hint when to retry.

use std::time::Duration;

use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{AuditIndex, CommandId, DecisionId, Revision};
use only1mcp_domain::model::Permission;
use only1mcp_domain::outcome::Rejection;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::ports::{MembershipFailure, ProposeFailure, ReadFailure};

/// `google.rpc.ErrorInfo.domain` of every error of this product.
pub const ERROR_DOMAIN: &str = "only1mcp";

/// What an administrative request can end in, besides its answer.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum AdminError {
    #[error("no valid credentials: {}", reason.ask())]
    Unauthenticated { reason: Reason },
    #[error("no valid credentials: send `authorization: Bearer <API key>` or use a client certificate")]
    NoCredentials,
    #[error("{method} needs {} in tenant {tenant}: {}; decision {decision}", permission.text(), reason.ask())]
    Denied {
        reason: Reason,
        decision: DecisionId,
        revision: Revision,
        method: &'static str,
        permission: Permission,
        tenant: String,
    },
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("{field}: {problem}")]
    Invalid { field: String, problem: String },
    #[error("no quorum is reachable: nothing was changed")]
    Unavailable,
    #[error(
        "this node is low on disk space and takes no such write: ask another node, or give this one more space"
    )]
    DiskLow,
    #[error("this node's state is older than asked for")]
    Stale,
    #[error("the outcome is unknown: retry with the same command_id {command_id}")]
    OutcomeUnknown { command_id: CommandId },
    #[error("consensus refuses: {detail}")]
    MembershipRefused { detail: String },
    #[error("the leader did not change in time")]
    TransferUnknown,
    #[error("the page token is none of this list's: start the list again")]
    PageTokenInvalid,
    #[error("the state this page token stands for is no longer kept on this node: start the list again")]
    PageTokenStale,
    #[error("too many requests of this kind at once")]
    Overloaded,
    #[error("the audit trail could not be read on this node")]
    AuditUnreadable,
    #[error("{detail}; try again, or ask another node")]
    AuditFetching { code: &'static str, detail: String },
    #[error(
        "payloads were dropped from the segment that begins with event {first}, and its file is another now: make the \
         backup from a new image; what was sent already is not sent again"
    )]
    SegmentReplaced { first: AuditIndex },
    #[error(
        "the payload of event {index} was dropped, which event {record} records: without it the export cannot be \
         verified; export up to {record} or further"
    )]
    RecordOutside { index: AuditIndex, record: AuditIndex },
    #[error("the cost records could not be read on this node")]
    CostsUnreadable,
    #[error("the period holds more records than one report can read: ask for a shorter one")]
    PeriodTooLong,
    #[error("this node has stopped")]
    Stopped,
    #[error("a rule of this server does not hold: {detail}")]
    Internal { detail: &'static str },
}

impl AdminError {
    pub fn invalid(field: impl Into<String>, problem: impl ToString) -> Self {
        Self::Invalid { field: field.into(), problem: problem.to_string() }
    }

    pub fn not_found(kind: &str, id: impl ToString) -> Self {
        Self::Rejected(Rejection::NotFound { kind: kind.to_owned(), id: id.to_string() })
    }

    /// The stable public code.
    pub fn code(&self) -> String {
        let code = match self {
            Self::Unauthenticated { reason } | Self::Denied { reason, .. } => {
                return reason.code().to_ascii_uppercase();
            }
            Self::Rejected(rejection) => rejection.code(),
            Self::NoCredentials => "NO_CREDENTIALS",
            Self::Invalid { .. } => "INVALID",
            Self::Unavailable => "UNAVAILABLE",
            Self::DiskLow => "DISK_LOW",
            Self::Stale => "STALE",
            Self::OutcomeUnknown { .. } => "OUTCOME_UNKNOWN",
            Self::MembershipRefused { .. } => "MEMBERSHIP_REFUSED",
            Self::TransferUnknown => "TRANSFER_UNKNOWN",
            Self::PageTokenInvalid => "PAGE_TOKEN_INVALID",
            Self::PageTokenStale => "PAGE_TOKEN_STALE",
            Self::Overloaded => "OVERLOADED",
            Self::AuditUnreadable => "AUDIT_UNREADABLE",
            Self::AuditFetching { code, .. } => code,
            Self::SegmentReplaced { .. } => "SEGMENT_REPLACED",
            Self::RecordOutside { .. } => "RECORD_OUTSIDE",
            Self::CostsUnreadable => "COSTS_UNREADABLE",
            Self::PeriodTooLong => "PERIOD_TOO_LONG",
            Self::Stopped => "STOPPED",
            Self::Internal { .. } => "INTERNAL",
        };
        code.to_owned()
    }

    fn grpc_code(&self) -> Code {
        match self {
            Self::Unauthenticated { .. } | Self::NoCredentials => Code::Unauthenticated,
            Self::Denied { .. } => Code::PermissionDenied,
            Self::Rejected(rejection) => rejection_code(rejection),
            Self::Invalid { .. } | Self::PageTokenInvalid => Code::InvalidArgument,
            Self::Unavailable | Self::DiskLow | Self::Stale | Self::Stopped | Self::AuditFetching { .. } => {
                Code::Unavailable
            }
            Self::OutcomeUnknown { .. } | Self::TransferUnknown => Code::DeadlineExceeded,
            Self::MembershipRefused { .. } | Self::RecordOutside { .. } => Code::FailedPrecondition,
            Self::PageTokenStale | Self::SegmentReplaced { .. } => Code::Aborted,
            Self::Overloaded | Self::PeriodTooLong => Code::ResourceExhausted,
            Self::AuditUnreadable | Self::CostsUnreadable | Self::Internal { .. } => Code::Internal,
        }
    }

    /// When trying again, unchanged, can help.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable | Self::Stale | Self::Overloaded | Self::Stopped => {
                Some(Duration::from_millis(500))
            }
            Self::AuditFetching { .. } => Some(Duration::from_secs(1)),
            Self::OutcomeUnknown { .. } | Self::TransferUnknown => Some(Duration::from_millis(250)),
            // Not by itself: somebody has to make room.
            Self::DiskLow
            | Self::Unauthenticated { .. }
            | Self::NoCredentials
            | Self::Denied { .. }
            | Self::Rejected(_)
            | Self::Invalid { .. }
            | Self::MembershipRefused { .. }
            | Self::PageTokenInvalid
            | Self::PageTokenStale
            | Self::AuditUnreadable
            | Self::SegmentReplaced { .. }
            | Self::RecordOutside { .. }
            | Self::CostsUnreadable
            | Self::PeriodTooLong
            | Self::Internal { .. } => None,
        }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Denied { decision, revision, method, permission, tenant, .. } => vec![
                ("decision", decision.to_string()),
                ("policy_revision", revision.to_string()),
                ("method", (*method).to_owned()),
                ("permission", permission.text()),
                ("tenant", tenant.clone()),
            ],
            Self::OutcomeUnknown { command_id } => vec![
                ("command_id", command_id.to_string()),
                ("hint", "retry with the same command_id".to_owned()),
            ],
            Self::Rejected(Rejection::RevisionMismatch { expected, found }) => {
                vec![("expected_revision", expected.to_string()), ("found_revision", found.to_string())]
            }
            Self::Rejected(Rejection::SecretNotRecoverable { id }) => vec![("id", id.clone())],
            Self::Invalid { field, .. } | Self::Rejected(Rejection::Invalid { field, .. }) => {
                vec![("field", field.clone())]
            }
            _ => Vec::new(),
        }
    }
}

fn rejection_code(rejection: &Rejection) -> Code {
    match rejection {
        Rejection::NotFound { .. } => Code::NotFound,
        Rejection::AlreadyExists { .. } => Code::AlreadyExists,
        Rejection::RevisionMismatch { .. } => Code::Aborted,
        Rejection::Forbidden { .. } | Rejection::Escalation { .. } => Code::PermissionDenied,
        Rejection::Invalid { .. } | Rejection::Cycle { .. } => Code::InvalidArgument,
        Rejection::LimitReached { .. } | Rejection::QuotaExceeded { .. } => Code::ResourceExhausted,
        Rejection::NotFormed {}
        | Rejection::AlreadyFormed {}
        | Rejection::InUse { .. }
        | Rejection::BuiltIn { .. }
        | Rejection::CommandIdConflict {}
        | Rejection::SecretNotRecoverable { .. }
        | Rejection::TokenInvalid {}
        | Rejection::NodeBarred { .. }
        | Rejection::JournalUnposted { .. }
        | Rejection::Fenced { .. }
        | Rejection::Gap { .. }
        | Rejection::BatchMismatch { .. }
        | Rejection::LastAdministrator {}
        | Rejection::TenantClosed { .. }
        | Rejection::RetentionTooEarly { .. }
        | Rejection::DutyFenced { .. } => Code::FailedPrecondition,
    }
}

impl From<AdminError> for Status {
    fn from(error: AdminError) -> Self {
        let mut details = ErrorDetails::new();
        let facts = error.facts().into_iter().map(|(name, value)| (name.to_owned(), value));
        details.set_error_info(
            error.code(),
            ERROR_DOMAIN,
            facts.collect::<std::collections::HashMap<_, _>>(),
        );
        if let Some(delay) = error.retry_after() {
            details.set_retry_info(Some(delay));
        }
        if let AdminError::Invalid { field, problem } = &error {
            details.add_bad_request_violation(field, problem);
        }
        Status::with_error_details(error.grpc_code(), error.to_string(), details)
    }
}

impl From<ReadFailure> for AdminError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Unavailable => Self::Unavailable,
            ReadFailure::Stale => Self::Stale,
            ReadFailure::Stopped(why) => {
                tracing::warn!(why, "administrative read on a stopped node");
                Self::Stopped
            }
        }
    }
}

/// What a failed proposal of the write named `command_id` means to its caller.
pub fn proposal(failure: ProposeFailure, command_id: CommandId) -> AdminError {
    match failure {
        ProposeFailure::NotReady => AdminError::Unavailable,
        ProposeFailure::DiskLow => AdminError::DiskLow,
        ProposeFailure::Unknown => AdminError::OutcomeUnknown { command_id },
        ProposeFailure::Stopped(why) => {
            tracing::warn!(why, "administrative write on a stopped node");
            AdminError::OutcomeUnknown { command_id }
        }
    }
}

/// As [`proposal`], for membership operations.
pub fn membership(failure: MembershipFailure, command_id: CommandId) -> AdminError {
    match failure {
        MembershipFailure::Propose(failure) => proposal(failure, command_id),
        MembershipFailure::Refused(detail) => AdminError::MembershipRefused { detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_code_domain_facts_and_retry() {
        let status = Status::from(AdminError::OutcomeUnknown { command_id: CommandId([0xab; 16]) });
        assert_eq!(status.code(), Code::DeadlineExceeded);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("OUTCOME_UNKNOWN", ERROR_DOMAIN));
        assert_eq!(info.metadata.get("command_id").unwrap(), &"ab".repeat(16));
        assert!(details.retry_info().is_some());
        assert!(status.message().contains("same command_id"));
    }

    #[test]
    fn events_that_are_on_their_way_are_worth_another_try() {
        let detail = "events 1 to 9 are not on this node yet".to_owned();
        let status = Status::from(AdminError::AuditFetching { code: "AUDIT_SEGMENT_LACKING", detail });
        assert_eq!(status.code(), Code::Unavailable);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "AUDIT_SEGMENT_LACKING");
        assert!(details.retry_info().is_some());
    }

    #[test]
    fn rejections_keep_their_code() {
        let status = Status::from(AdminError::from(Rejection::RevisionMismatch { expected: 3, found: 4 }));
        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "REVISION_MISMATCH");
        assert!(status.get_error_details().retry_info().is_none());
    }
}
