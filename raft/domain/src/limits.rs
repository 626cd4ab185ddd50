//! Every bound of the product in one place. Past a bound: a clear refusal, never growth.
//! Each constant has a test on both sides, named after it.

/// Slug identifiers (tenants, upstreams), in bytes.
pub const SLUG_BYTES_MAX: usize = 32;
/// Other identifiers, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Display names and short free text, in bytes.
pub const LABEL_BYTES_MAX: usize = 256;
/// Descriptions, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1_024;
/// A tool name or pattern, in bytes.
pub const TOOL_NAME_BYTES_MAX: usize = 256;
/// A resource URI, in bytes.
pub const RESOURCE_URI_BYTES_MAX: usize = 2_048;
/// Permissions of one role.
pub const ROLE_PERMISSIONS_MAX: usize = 256;
/// Roles one role inherits from directly.
pub const ROLE_PARENTS_MAX: usize = 16;
/// Roles reachable from one role along inheritance, itself included.
pub const ROLE_CLOSURE_MAX: usize = 64;
/// Inheritance depth, the granted role counting as 1.
pub const ROLE_DEPTH_MAX: usize = 16;
/// Inheritance paths from one role, over all its ancestors.
pub const ROLE_PATHS_MAX: usize = 256;
/// Node ids begin anew above the next multiple of this in a cluster made of a backup: the old one may have registered
/// nodes that the backup does not know.
pub const EPOCH_NODE_IDS: u64 = 1_000;
/// Roles of one tenant.
pub const ROLES_PER_TENANT_MAX: usize = 20_000;
/// Grants one principal holds.
pub const GRANTS_PER_PRINCIPAL_MAX: usize = 64;
/// API keys one principal holds, revoked ones not counted.
pub const KEYS_PER_PRINCIPAL_MAX: usize = 32;
/// Principals of one tenant.
pub const PRINCIPALS_PER_TENANT_MAX: usize = 100_000;
/// Tenants of one cluster.
pub const TENANTS_MAX: usize = 10_000;
/// Tool restrictions of one tenant, and, on their own, explicit denies.
pub const RULES_PER_TENANT_MAX: usize = 1_000;
/// Upstreams of one tenant.
pub const UPSTREAMS_PER_TENANT_MAX: usize = 500;
/// Budgets of one tenant.
pub const BUDGETS_PER_TENANT_MAX: usize = 1_000;
/// What a budget may allow, in units of its measure: a billion dollars in pico-USD, with room to add and to multiply.
pub const BUDGET_AMOUNT_MAX: i128 = 1_000_000_000 * 1_000_000_000_000;
/// Whose use an account counts, in bytes; a longer name is told by its head and a digest.
pub const SUBJECT_BYTES_MAX: usize = 160;
/// Accounts of the ledger at one time.
pub const ACCOUNTS_MAX: usize = 1_000_000;
/// Accounts of one tenant.
pub const ACCOUNTS_PER_TENANT_MAX: usize = 100_000;
/// While the tenant has fewer, one that counts for a principal, a tool and the like may be opened; the rest is for those
/// that count for the whole tenant.
pub const ACCOUNTS_OF_EACH_PER_TENANT_MAX: usize = 90_000;
/// Accounts one call may touch; past it the call is refused.
pub const CALL_ACCOUNTS_MAX: usize = 64;
/// Paths tried for a call besides the deciding one, where that one's own limit is used up.
pub const PATHS_TRIED_MAX: usize = 16;
/// Accounts one request for allowances may name, and one return.
pub const ASK_PARTS_MAX: usize = 64;
/// Accounts that one recall takes back from a node.
pub const RECALL_PARTS_MAX: usize = 1_024;
/// Calls that wait for a nearly exhausted account, in the whole cluster.
pub const WAITERS_MAX: usize = 1_024;
/// Calls that one node puts into the cluster's line at one time; further ones wait behind them on the node.
pub const WAITERS_PER_NODE_MAX: usize = 64;
/// The same of calls in one tenant.
pub const WAITERS_PER_TENANT_AND_NODE_MAX: usize = 16;
/// Calls that wait on one node for something to be lent.
pub const LINE_MAX: usize = 4_096;
/// The same of calls in one tenant.
pub const LINE_PER_TENANT_MAX: usize = 1_024;
/// How long before a period begins something may be lent from it, in milliseconds; half a shorter period.
pub const PERIOD_AHEAD_MS_MAX: u64 = 60_000;
/// How long the account of a period of an hour or less is remembered after its end, in milliseconds.
pub const SHORT_ACCOUNT_AGE_MS: u64 = 3_600_000;
/// The same of longer periods: thirteen months and some days.
pub const LONG_ACCOUNT_AGE_MS: u64 = 400 * 24 * 3_600_000;
/// Networks of one IP allowlist.
pub const NETWORKS_MAX: usize = 64;
/// Entries of any other list inside a record (projects, allowed roles, attributes, disabled tools).
pub const LIST_MAX: usize = 256;
/// Attribute and tag values, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 512;
/// The key of a cost record's tag, in bytes.
pub const TAG_KEY_BYTES_MAX: usize = 64;
/// Its value, in bytes.
pub const TAG_VALUE_BYTES_MAX: usize = 128;
/// Tags that one source gives: a tenant, a metering, the attributes of a principal, a call.
pub const TAGS_MAX: usize = 8;
/// Tags of one cost record: those of every source.
pub const COST_TAGS_MAX: usize = 4 * TAGS_MAX;
/// Arguments and environment entries of a stdio upstream.
pub const UPSTREAM_ARGS_MAX: usize = 64;
/// Voters and learners of a cluster, in all.
pub const NODES_MAX: usize = 16;
/// Unused join tokens at one time.
pub const JOIN_TOKENS_MAX: usize = 64;
/// Records of one activity batch.
pub const BATCH_RECORDS_MAX: usize = 1_024;
/// One activity batch, encoded, in bytes.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// One log entry, encoded, in bytes.
pub const ENTRY_BYTES_MAX: usize = 2 << 20;
/// One outcome as a node tells it to another, in bytes.
pub const OUTCOME_BYTES_MAX: usize = 256 << 10;
/// One stored row, in bytes.
pub const ROW_BYTES_MAX: usize = 64 << 10;
/// Remembered batches per node, for answering duplicates.
pub const BATCH_WINDOW_MAX: usize = 1_024;
/// Remembered `command_id`s: at least this many are kept, older ones until their age passes the next bound.
pub const COMMAND_IDS_MIN: usize = 100_000;
/// How long a `command_id` is remembered, in milliseconds of log time.
pub const COMMAND_ID_AGE_MS: u64 = 24 * 3_600 * 1_000;
/// MCP session tombstones are kept this long, in milliseconds of log time: longer than any session lives.
pub const TOMBSTONE_AGE_MS: u64 = 25 * 3_600 * 1_000;
/// An MCP session's absolute life, in milliseconds.
pub const MCP_SESSION_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// Refusals recorded one by one, per second and (tenant, principal, reason); more are folded.
pub const REFUSALS_PER_SECOND_MAX: u32 = 10;
/// A request body at the gateway, in bytes, by default.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// One message from an upstream, in bytes, by default.
pub const UPSTREAM_MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Nesting depth of a JSON body.
pub const JSON_DEPTH_MAX: usize = 64;
/// Rows of one page of an administrative list.
pub const PAGE_ROWS_MAX: usize = 1_000;
/// Rows looked at for one page, where not every one is shown; the next page goes on from there.
pub const PAGE_LOOKED_AT_MAX: usize = 10_000;
/// Text fields of an audit event (user agent, action, detail), in bytes; longer ones are cut and marked.
pub const EVENT_TEXT_BYTES_MAX: usize = 512;
/// Before and after states in an audit event, in bytes each; larger ones are replaced by their digest.
pub const EVENT_STATE_BYTES_MAX: usize = 16 << 10;
/// How old the state may be on which a call is admitted, in milliseconds, by default.
pub const STALENESS_MS_DEFAULT: u64 = 2_000;
/// How long a request waits for its node to become fresh, in milliseconds.
pub const STALE_WAIT_MS_MAX: u64 = 5_000;
/// Requests of one tenant waiting for freshness on one node.
pub const STALE_WAITERS_PER_TENANT_MAX: usize = 1_024;
/// A stored row's key, in bytes.
pub const ROW_KEY_BYTES_MAX: usize = 1_024;
/// One Raft log record: an entry and what consensus wraps around it, in bytes.
pub const LOG_RECORD_BYTES_MAX: usize = ENTRY_BYTES_MAX + (64 << 10);
/// One journal record, in bytes.
pub const JOURNAL_RECORD_BYTES_MAX: usize = 2 << 20;
/// Journal records waiting for the disk, in bytes.
pub const JOURNAL_QUEUE_BYTES_MAX: usize = 32 << 20;
/// Journal records waiting for the disk, by number.
pub const JOURNAL_QUEUE_RECORDS_MAX: usize = 65_536;
/// A journal file, in bytes; one larger record makes a larger file.
pub const JOURNAL_SEGMENT_BYTES: u64 = 16 << 20;
/// A file of the Raft log, in bytes; the newest one is also held in memory.
pub const LOG_CHUNK_BYTES: usize = 32 << 20;
/// Raft log payloads cached in memory besides the newest file's, in bytes.
pub const LOG_CACHE_BYTES_MAX: usize = 64 << 20;
/// sled's page cache, in bytes.
pub const ENGINE_CACHE_BYTES_MAX: u64 = 64 << 20;
/// Role paths told of in one explanation.
pub const EXPLAIN_PATHS_MAX: usize = 256;
/// A host name, in bytes.
/// Source: RFC 1035, 2.3.4, without the root's dot.
pub const DOMAIN_BYTES_MAX: usize = 253;
/// The name of an IANA time zone, in bytes.
pub const ZONE_BYTES_MAX: usize = 64;
/// The address of an upstream, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// One argument or environment value of a stdio upstream, in bytes.
pub const ARGUMENT_BYTES_MAX: usize = 1_024;
/// Secret headers of one upstream.
pub const UPSTREAM_HEADERS_MAX: usize = 32;
/// The value of one such header, in bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 4_096;
/// Calls in flight per node and upstream that may be asked for.
pub const UPSTREAM_CONCURRENCY_MAX: u32 = 10_000;
/// The longest time one call may be given, in milliseconds.
pub const CALL_TIMEOUT_MS_MAX: u64 = 3_600_000;
/// Bounds of the replicated timing settings, in milliseconds.
pub const HEARTBEAT_MS_MIN: u64 = 10;
pub const ELECTION_MS_MAX: u64 = 60_000;
pub const STALENESS_MS_MAX: u64 = 60_000;
/// The newest replicated behaviour this program knows.
pub const FEATURE_LEVEL_MAX: u32 = 5;
/// The feature level from which on nodes have signing keys, and events name the signers.
pub const FEATURE_LEVEL_SIGNING: u32 = 3;
/// The feature level from which on persons are bounded in number, and members tell when a destroyed generation's key is
/// beyond recovery.
pub const FEATURE_LEVEL_GENERATION_KEYS: u32 = 4;
/// The feature level from which on payloads of audit events are dropped once their days are over.
pub const FEATURE_LEVEL_RETENTION: u32 = 5;
/// A signed note: a checkpoint with all its signatures.
pub const NOTE_BYTES_MAX: usize = 64 << 10;
/// Signatures of one note: of all nodes, some keys they had before, and witnesses.
pub const NOTE_SIGNATURES_MAX: usize = 64;
/// How long a member must have kept up before it is made a voter or a leader by preference, in milliseconds, by default.
pub const STABLE_MS_DEFAULT: u64 = 500;
/// The longest such time.
pub const STABLE_MS_MAX: u64 = 3_600_000;
/// Remembered MCP session tombstones.
pub const CLOSED_SESSIONS_MAX: usize = 1_000_000;
/// What one entry forgets of each kind at most, so that a jump of log time costs no entry much.
pub const FORGET_PER_ENTRY_MAX: usize = 256;
/// Entries of one append between members, in bytes; one entry always goes, whatever its size.
pub const APPEND_BYTES_MAX: usize = 4 << 20;
/// One message between members, in bytes: an append's entries and one entry more, with their frames.
pub const PEER_MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Rows of one snapshot frame, in bytes; one row always goes.
pub const SNAPSHOT_FRAME_BYTES_MAX: usize = 512 << 10;
/// A snapshot as a joiner keeps it on disk while receiving, in bytes.
pub const SNAPSHOT_BYTES_MAX: u64 = 16 << 30;
/// Events of one sealed segment of the audit trail, by default: the same on every node, so that all make the same ones.
pub const SEGMENT_EVENTS: usize = 16_384;
/// Events a segment may be told to hold, or found to hold.
pub const SEGMENT_EVENTS_MAX: usize = 65_536;
/// Bytes of a segment that one message between members carries.
pub const SEGMENT_CHUNK_BYTES_MAX: usize = 256 << 10;
/// Entries applied in one write to the row store.
pub const APPLY_ENTRIES_MAX: usize = 64;
/// Notes of applied entries a slow receiver may fall behind by.
pub const APPLIED_NOTES_MAX: usize = 4_096;
/// Digits of a price, a rate or a factor, those before the first that counts not counted.
pub const DECIMAL_DIGITS_MAX: usize = 30;
/// Digits after the decimal point of one.
pub const DECIMAL_SCALE_MAX: u8 = 30;
/// The text of one, in bytes.
pub const DECIMAL_BYTES_MAX: usize = 80;
/// Lines of one price entry, its free meters counted.
pub const PRICE_LINES_MAX: usize = 64;
/// Tiers of one meter in a price entry, and of one volume discount.
pub const TIERS_MAX: usize = 16;
/// How many units a price may be for: a million tokens and much more.
pub const PRICE_UNIT_MAX: u64 = 1_000_000_000_000;
/// The highest price of a line, in its currency.
pub const PRICE_MAX: u64 = 1_000_000_000;
/// The highest rate of a currency, in USD.
pub const EXCHANGE_RATE_MAX: u64 = 1_000_000;
/// Units of one meter in one call, and where the last tier may begin.
pub const UNITS_MAX: u64 = 1_000_000_000_000_000;
/// Prices of one tenant: `system` holds a whole imported list.
pub const PRICES_PER_TENANT_MAX: usize = 10_000;
/// Meterings of one tenant.
pub const METERINGS_PER_TENANT_MAX: usize = 1_000;
/// Exchange rates, of all currencies together.
pub const RATES_MAX: usize = 1_000;
/// Cost records of one tenant that were corrected.
pub const CORRECTIONS_PER_TENANT_MAX: usize = 10_000;
/// Bytes of a call's input that count as one token of `max_context_size`.
pub const CONTEXT_BYTES_PER_TOKEN: u64 = 4;
/// Records that one report of costs reads.
pub const REPORT_RECORDS_MAX: usize = 5_000_000;
/// Groups of such a report told one by one, where nobody says how many.
pub const REPORT_GROUPS_DEFAULT: usize = 100;
/// The most that may be asked for.
pub const REPORT_GROUPS_MAX: usize = 1_000;
/// Groups kept apart while records are read; those of more keys are summed up together.
pub const REPORT_GROUPS_HELD_MAX: usize = 50_000;
/// Charges in one cost record.
pub const COST_CHARGES_MAX: usize = 64;
/// Discounts of one tenant.
pub const DISCOUNTS_PER_TENANT_MAX: usize = 32;
/// A JSON pointer to a number of usage, in bytes.
pub const POINTER_BYTES_MAX: usize = 512;
/// Numbers taken off another to make a meter disjoint.
pub const POINTERS_MAX: usize = 8;
/// Webhooks of one tenant.
pub const WEBHOOKS_PER_TENANT_MAX: usize = 100;
/// Why a duty's last attempt failed, as the log is told, in bytes.
pub const DUTY_ERROR_BYTES_MAX: usize = 256;
/// What is read of a webhook's answer, in bytes; the rest is left unread.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Requests to webhooks under way on one node, besides one of each tenant.
pub const WEBHOOK_REQUESTS_MAX: usize = 33;
/// The same of one tenant, that one among them.
pub const WEBHOOK_REQUESTS_PER_TENANT_MAX: usize = 4;
/// Persons of one tenant that something is remembered of, those who are gone included. Beyond it nobody new comes; who is
/// there already still gets a key, may be held and erased, so that there are at most `PRINCIPALS_PER_TENANT_MAX` more.
pub const SUBJECTS_PER_TENANT_MAX: usize = 200_000;
/// Keys of persons that one entry gives, or wraps anew.
pub const SUBJECT_KEYS_MAX: usize = 1_000;
/// A person who was erased is unrecoverable within this, in milliseconds: 30 days.
pub const ERASURE_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// How long a destroyed key-encryption key of a generation may still be called back, where its provider has such a time, in
/// milliseconds: 7 days. A member that tells more is not believed.
pub const DELETION_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// The fewest days that a class of audit events may be kept.
pub const RETENTION_DAYS_MIN: u32 = 30;
/// The most: a hundred years.
pub const RETENTION_DAYS_MAX: u32 = 36_500;
/// How often payloads may be dropped from one segment.
pub const RETENTION_DROPS_PER_SEGMENT_MAX: usize = 64;
/// Persons under a legal hold at one time; while there are more, no payload is dropped.
pub const RETENTION_HOLDS_MAX: usize = 256;
/// A node with less disk space left takes no work, unless its configuration names another mark.
pub const DISK_LOW_BYTES: u64 = 512 << 20;
/// The lowest mark that may be configured: what a node writes while it only follows the others for a while.
pub const DISK_LOW_BYTES_MIN: u64 = 4 << 20;
