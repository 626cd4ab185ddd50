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

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::new(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_pattern_without_stars_is_the_name_itself() {
        assert!(matches("demo__echo", "demo__echo"));
        for other in ["", "demo__ech", "demo__echo2", "Demo__echo", "xdemo__echo"] {
            assert!(!matches("demo__echo", other), "{other}");
        }
    }

    #[test]
    fn each_star_stands_for_any_run() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "anything__at_all", true),
            ("**", "", true),
            ("demo__*", "demo__", true),
            ("demo__*", "demo__echo", true),
            ("demo__*", "demo_echo", false),
            ("*__echo", "a__b__echo", true),
            ("*__echo", "a__echo__b", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("*aab", "aaab", true),
            ("*ab*ab", "ab", false),
            ("*ü*", "grün", true),
            ("gr*n", "grün", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    /// Every pattern and every name over a small alphabet, against a definition by cases.
    #[test]
    fn matching_agrees_with_its_definition() {
        fn define(pattern: &str, name: &str) -> bool {
            match pattern.chars().next() {
                None => name.is_empty(),
                Some('*') => (0..=name.len()).any(|eaten| define(&pattern[1..], &name[eaten..])),
                Some(c) => name.starts_with(c) && define(&pattern[1..], &name[1..]),
            }
        }
        fn texts(alphabet: &[char], len: usize) -> Vec<String> {
            let shorter = if len == 0 { return vec![String::new()] } else { texts(alphabet, len - 1) };
            let longer = shorter.iter().flat_map(|text| alphabet.iter().map(move |c| format!("{text}{c}")));
            let mut all: Vec<String> = longer.chain(shorter.clone()).collect();
            all.sort();
            all.dedup();
            all
        }
        for pattern in texts(&['a', 'b', '*'], 5).iter().filter(|pattern| !pattern.is_empty()) {
            let glob = Glob::new(pattern).unwrap();
            for name in texts(&['a', 'b'], 6) {
                assert_eq!(glob.matches(&name), define(pattern, &name), "{pattern} on {name}");
            }
        }
    }

    #[test]
    fn tool_name_bytes_max() {
        let max = limits::TOOL_NAME_BYTES_MAX;
        assert!(Glob::new("x".repeat(max)).is_ok());
        assert_eq!(Glob::new("x".repeat(max + 1)), Err(GlobError::TooLong { len: max + 1, max }));
        assert_eq!(Glob::new(""), Err(GlobError::Empty));
        assert_eq!(Glob::new("a\nb"), Err(GlobError::Control));
        assert_eq!(Glob::new("a\0"), Err(GlobError::Control));
    }

    #[test]
    fn the_longest_pattern_on_a_long_name_ends_soon() {
        let pattern = Glob::new("*a".repeat(limits::TOOL_NAME_BYTES_MAX / 2)).unwrap();
        let name = "a".repeat(limits::RESOURCE_URI_BYTES_MAX);
        assert!(pattern.matches(&name) && !pattern.matches(&(name + "b")));
    }

    #[test]
    fn every_permission_is_read_back_from_its_text() {
        let patterned =
            [Permission::ToolExecute, Permission::ToolView].map(|of| of(Glob::new("a(b)*").unwrap()));
        for permission in Permission::PLAIN.into_iter().chain(patterned) {
            assert_eq!(Permission::parse(&permission.text()), Some(permission));
        }
        for text in
            ["", "globaladmin", "ToolExecute", "ToolExecute()", "ToolView(x", "ToolAll(x)", " GlobalRead"]
        {
            assert_eq!(Permission::parse(text), None, "{text}");
        }
    }
}
