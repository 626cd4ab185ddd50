//! The authority as its operator meets it: the command line, the files, the rotation.

use std::path::Path;

use clap::{Args as _, FromArgMatches as _};
use only1mcp_domain::ids::{PrincipalId, TenantId};
use only1mcp_domain::time::TimestampMs;

use super::*;

/// 2026-11-23T00:00:00Z.
const NOW: TimestampMs = TimestampMs(1_795_392_000_000);

fn pki(dir: &Path, line: &str) -> Result<String, PkiError> {
    let line = line.replace("DIR", &dir.to_string_lossy());
    let command = PkiArgs::augment_args(clap::Command::new("pki").no_binary_name(true));
    let matches = command.try_get_matches_from(line.split_whitespace()).unwrap();
    command::run_at(&PkiArgs::from_arg_matches(&matches).unwrap(), NOW)
}

fn identity(dir: &Path, file: &str) -> CertIdentity {
    let certificates = files::certificates_in(&dir.join(file)).unwrap();
    CertIdentity::of_der(&certificates[0]).unwrap()
}

#[test]
fn an_authority_issues_to_nodes_and_administrators() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    pki(dir, "ca --dir DIR").unwrap();
    pki(dir, "node n1 --dns n1.example.org --ip 127.0.0.1 --ip ::1 --dir DIR").unwrap();
    pki(dir, "client ana@example.org --dir DIR").unwrap();
    assert_eq!(identity(dir, "n1.pem"), CertIdentity::Node { name: "n1".to_owned() });
    assert_eq!(
        identity(dir, "client-system-ana@example.org.pem"),
        CertIdentity::Admin {
            tenant: TenantId::new("system").unwrap(),
            principal: PrincipalId::new("ana@example.org").unwrap(),
        }
    );
    assert_eq!(identity(dir, "ca.pem"), CertIdentity::Other);

    let shown = pki(dir, "show DIR/n1.pem DIR/ca.pem").unwrap();
    for part in
        ["holder       node n1", "DNS n1.example.org", "IP 127.0.0.1", "IP ::1", "365 days left", "sha256 "]
    {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
    assert!(shown.contains("holder       certificate authority"), "{shown}");
}

#[test]
fn nothing_is_overwritten_unless_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    pki(dir, "ca --dir DIR").unwrap();
    let before = std::fs::read(dir.join("ca-key.pem")).unwrap();
    assert!(matches!(pki(dir, "ca --dir DIR"), Err(PkiError::Exists { .. })));
    assert_eq!(std::fs::read(dir.join("ca-key.pem")).unwrap(), before);
    pki(dir, "node n1 --dir DIR").unwrap();
    assert!(matches!(pki(dir, "node n1 --dir DIR"), Err(PkiError::Exists { .. })));
    pki(dir, "node n1 --dir DIR --force").unwrap();
    pki(dir, "ca --dir DIR --force").unwrap();
    assert_ne!(std::fs::read(dir.join("ca-key.pem")).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn keys_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    // A leftover of an interrupted run must not lend its mode to the key.
    std::fs::write(dir.join("n1-key.pem.new"), "left over").unwrap();
    pki(dir, "ca --dir DIR").unwrap();
    pki(dir, "node n1 --dir DIR").unwrap();
    pki(dir, "rotate start --dir DIR").unwrap();
    for key in ["ca-key.pem", "n1-key.pem", "ca-next-key.pem"] {
        let mode = std::fs::metadata(dir.join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn a_rotation_overlaps_and_finishes_only_when_all_is_reissued() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    pki(dir, "ca --dir DIR").unwrap();
    pki(dir, "node n1 --dir DIR").unwrap();
    assert!(matches!(pki(dir, "rotate switch --dir DIR"), Err(PkiError::RotationNotStarted { .. })));
    assert!(matches!(pki(dir, "rotate finish --dir DIR"), Err(PkiError::NothingToDrop)));

    let roots = || PkiFolder::new(dir).roots().unwrap();
    let issuing = || PkiFolder::new(dir).issuing_root().unwrap();
    let old = issuing();
    pki(dir, "rotate start --dir DIR").unwrap();
    assert_eq!((roots().len(), issuing()), (2, old.clone()), "both trusted, the old one issues");
    assert!(matches!(pki(dir, "rotate start --dir DIR"), Err(PkiError::RotationStarted { .. })));
    assert!(matches!(pki(dir, "rotate finish --dir DIR"), Err(PkiError::RotationStarted { .. })));

    pki(dir, "rotate switch --dir DIR").unwrap();
    let new = issuing();
    assert_ne!(new, old);
    assert_eq!(roots(), vec![old, new.clone()], "both trusted, the new one issues");
    let refused = pki(dir, "rotate finish --dir DIR").unwrap_err();
    assert!(matches!(&refused, PkiError::StillInUse { files } if files == &["n1.pem"]), "{refused}");

    pki(dir, "node n1 --dir DIR --force").unwrap();
    pki(dir, "rotate finish --dir DIR").unwrap();
    assert_eq!(roots(), vec![new]);
}

#[test]
fn impossible_wishes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    pki(dir, "ca --dir DIR").unwrap();
    assert!(matches!(pki(dir, "node N1 --dir DIR"), Err(PkiError::BadNodeName { .. })));
    assert!(matches!(pki(dir, "node n1 --dir DIR --days 0"), Err(PkiError::BadValidity { .. })));
    assert!(matches!(pki(dir, "node n1 --dir DIR --days 7306"), Err(PkiError::BadValidity { .. })));
    assert!(matches!(pki(dir, "show DIR/ca-key.pem"), Err(PkiError::BadFile { .. })));
    assert!(!dir.join("n1.pem").exists() && !dir.join("n1-key.pem").exists());
    // A key that belongs to no root of the bundle must not issue.
    let other = tempfile::tempdir().unwrap();
    pki(other.path(), "ca --dir DIR").unwrap();
    std::fs::copy(other.path().join("ca-key.pem"), dir.join("ca-key.pem")).unwrap();
    assert!(matches!(pki(dir, "node n1 --dir DIR"), Err(PkiError::KeyWithoutRoot { .. })));
}
