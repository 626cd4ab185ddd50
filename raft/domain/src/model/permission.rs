//! Permissions and the patterns in them.
//! Source: specification, "RBAC Architecture".

use crate::limits;

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("a tool pattern is empty")]
    Empty,
    #[error("a tool pattern of {len} bytes; at most {max} are allowed")]
    TooLong { len: usize, max: usize },
    #[error("a tool pattern holds a control character")]
    Control,
}

/// A tool name, in which each `*` stands for any run of characters. Matched against exposed names (`upstream__tool`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(std::sync::Arc<str>);

impl Glob {
    pub fn new(text: impl AsRef<str>) -> Result<Self, GlobError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.len() > limits::TOOL_NAME_BYTES_MAX {
            return Err(GlobError::TooLong { len: text.len(), max: limits::TOOL_NAME_BYTES_MAX });
        }
        if text.chars().any(char::is_control) {
            return Err(GlobError::Control);
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the pattern is a plain name.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Time: O(pattern x name) in the worst case, both bounded.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(first) = parts.next() else { return false };
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or("");
        }
        rest.len() >= last.len() && rest.ends_with(last)
    }
}

impl AsRef<str> for Glob {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Glob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for Glob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The smallest unit of access control.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Permission {
    /// Everything within the holder's tenant; in `system`, everything.
    GlobalAdmin,
    /// Reads everything within the holder's tenant; executes nothing.
    GlobalRead,
    ServerCreate,
    ServerDelete,
    ServerModify,
    ServerView,
    /// Calls matching tools, prompts and resources; also shows them in lists.
    ToolExecute(Glob),
    /// Shows matching tools, prompts and resources in lists.
    ToolView(Glob),
    /// `ToolExecute(*)`.
    ToolAll,
    AuditView,
    AuditExport,
    /// Runs retention; nothing deletes single events.
    AuditDelete,
    CostView,
    CostAllocate,
    CostBudgetSet,
    UserCreate,
    UserDelete,
    UserModify,
    RoleAssign,
}

impl Permission {
    /// The name used in configuration, errors and the API: `ToolExecute(pattern)` carries its pattern.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GlobalAdmin => "GlobalAdmin",
            Self::GlobalRead => "GlobalRead",
            Self::ServerCreate => "ServerCreate",
            Self::ServerDelete => "ServerDelete",
            Self::ServerModify => "ServerModify",
            Self::ServerView => "ServerView",
            Self::ToolExecute(_) => "ToolExecute",
            Self::ToolView(_) => "ToolView",
            Self::ToolAll => "ToolAll",
            Self::AuditView => "AuditView",
            Self::AuditExport => "AuditExport",
            Self::AuditDelete => "AuditDelete",
            Self::CostView => "CostView",
            Self::CostAllocate => "CostAllocate",
            Self::CostBudgetSet => "CostBudgetSet",
            Self::UserCreate => "UserCreate",
            Self::UserDelete => "UserDelete",
            Self::UserModify => "UserModify",
            Self::RoleAssign => "RoleAssign",
        }
    }

    /// The name, with the pattern where there is one.
    pub fn text(&self) -> String {
        match self {
            Self::ToolExecute(glob) | Self::ToolView(glob) => format!("{}({glob})", self.name()),
            _ => self.name().to_owned(),
        }
    }

    /// Reads what [`Permission::text`] writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(pattern) = text.strip_prefix("ToolExecute(").and_then(|t| t.strip_suffix(')')) {
            return Glob::new(pattern).ok().map(Self::ToolExecute);
        }
        if let Some(pattern) = text.strip_prefix("ToolView(").and_then(|t| t.strip_suffix(')')) {
            return Glob::new(pattern).ok().map(Self::ToolView);
        }
        Self::PLAIN.iter().find(|p| p.name() == text).cloned()
    }

    /// Every permission that carries no pattern.
    pub const PLAIN: [Self; 17] = [
        Self::GlobalAdmin,
        Self::GlobalRead,
        Self::ServerCreate,
        Self::ServerDelete,
        Self::ServerModify,
        Self::ServerView,
        Self::ToolAll,
        Self::AuditView,
        Self::AuditExport,
        Self::AuditDelete,
        Self::CostView,
        Self::CostAllocate,
        Self::CostBudgetSet,
        Self::UserCreate,
        Self::UserDelete,
        Self::UserModify,
        Self::RoleAssign,
    ];
}
