//! Why something was refused: stable codes that callers, audit and metrics share.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $code:literal, $ask:literal;)*) => {
        /// Why a request was refused. Numbers are persisted and codes are public: append only.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The public code, as in errors, audit events and metric labels.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What the caller can do about it.
            pub fn ask(self) -> &'static str {
                match self { $(Self::$name => $ask,)* }
            }

            /// The persisted number.
            pub fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            pub fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    TenantUnknown = 1, "tenant_unknown", "check the tenant's name";
    TenantSuspended = 2, "tenant_suspended", "ask the operators to activate the tenant";
    PrincipalUnknown = 3, "principal_unknown", "ask an administrator of the tenant to create the principal";
    PrincipalDisabled = 4, "principal_disabled", "ask an administrator of the tenant to enable the principal";
    KeyUnknown = 5, "key_unknown", "use a valid API key";
    KeyRevoked = 6, "key_revoked", "use a key that is not revoked";
    KeyExpired = 7, "key_expired", "rotate the key or create a new one";
    KeyScope = 8, "key_scope", "use a key whose scope covers the tool and the project";
    CrossTenant = 9, "cross_tenant", "use a key of that tenant";
    NoPermission = 10, "no_permission", "ask for a role with the permission";
    ExplicitDeny = 11, "explicit_deny", "ask an administrator to lift the deny rule";
    ToolRestricted = 12, "tool_restricted", "ask for one of the roles that the tool is restricted to";
    OutsideTimeWindow = 13, "outside_time_window", "try again within the permitted hours";
    IpNotAllowed = 14, "ip_not_allowed", "call from a permitted network";
    MfaRequired = 15, "mfa_required", "sign in with a second factor, or have the service account's grant waive it";
    ProjectNotAllowed = 16, "project_not_allowed", "name a project that you are permitted to act in";
    GrantExpired = 17, "grant_expired", "ask for the grant to be renewed";
    UpstreamUnknown = 18, "upstream_unknown", "check the name; list the tools that are offered";
    UpstreamDisabled = 19, "upstream_disabled", "ask an administrator to enable the upstream";
    ToolDisabled = 20, "tool_disabled", "ask an administrator to enable the tool";
    /// A rule that cannot be evaluated refuses (P5).
    BrokenRule = 21, "broken_rule", "ask an administrator to repair the rule";
    /// The node's state is older than the bound (P4).
    Stale = 22, "stale", "retry; the node cannot reach a quorum";
    Draining = 23, "draining", "retry on another node";
    Overloaded = 24, "overloaded", "retry later";
    /// The admission could not be recorded.
    AuditUnavailable = 25, "audit_unavailable", "retry; the node cannot record calls";
    RevokedInFlight = 26, "revoked_in_flight", "ask for the authority that was withdrawn while the call ran";
    SessionClosed = 27, "session_closed", "start a new MCP session";
    /// A limit's amount is used up.
    BudgetExceeded = 28, "budget_exceeded", "wait for the limit's next period, or ask for a higher limit";
    /// What is left of a limit is lent to nodes that did not give it back in time.
    BudgetUnavailable = 29, "budget_unavailable", "retry; what is left of the limit could not be reached";
    /// A hard limit on cost, and something that the call uses has no price (P5).
    NoPrice = 30, "no_price", "ask an administrator to set the price: only1mcp ctl price set";
    /// A hard limit, and nobody declared the most that the call can use (P5).
    NoBound = 31, "no_bound", "ask an administrator to declare the most that a call can use, in the metering: only1mcp ctl price metering set";
    /// As many calls run as may run at once. Not `budget_exceeded`: nothing is used up, there is no next period to wait
    /// for, and a client that tries again in a moment may find room.
    ConcurrencyExceeded = 40, "concurrency_exceeded", "retry when other calls have ended, or ask for a higher limit";
    /// A limit counts for so many principals, tools or projects that it can count for no other.
    AccountsExhausted = 41, "accounts_exhausted", "ask an administrator to narrow the limits that count for each tool, principal or project";
    /// As many MCP sessions are open as may be. Not `concurrency_exceeded`: what has to end is a session, not a call.
    ConnectionsExceeded = 42, "connections_exceeded", "retry when another MCP session has ended, close one that is not needed, or ask for a higher limit";
    /// The input of the call is longer than its tenant allows, by the gateway's own count.
    ContextExceeded = 50, "context_exceeded", "send less input, or ask the operators for a higher max_context_size";
    /// Not a judgement: the client took its request back, or left, while it waited to be admitted. Nothing was sent.
    Withdrawn = 90, "withdrawn", "nothing; the client gave the request up before it was admitted";
    /// The node keeps the space that is left for what is under way.
    DiskLow = 91, "disk_low", "retry on another node, and ask the operators to give this one more disk space";
}
