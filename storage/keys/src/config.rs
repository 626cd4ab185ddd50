//! `keys:` of `node.yaml`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Ten years.
const RENEW_DAYS_MAX: u32 = 3_650;

/// Exactly one of `file`, `aws_kms` and `plaintext: true`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// A key file, as `only1mcp keys init` makes it. It belongs on another disk than `data_dir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_kms: Option<AwsKmsConfig>,
    /// Everything is written to disk in the clear.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plaintext: bool,
    /// Bound to new data keys besides the node's name: for policies on the key that name it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// The public part of a recovery key, PEM: wraps every data key besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<PathBuf>,
    /// A data key seals no longer than this.
    #[serde(default = "default_rotate_days")]
    pub rotate_days: u32,
    /// Nor more than this, since the node was started.
    #[serde(default = "default_rotate_gib")]
    pub rotate_gib: u32,
    /// Keys that wrap are renewed after this: a key file gets a new key, and everything is wrapped again under the newest.
    /// 0: only when told to.
    #[serde(default = "default_renew_days")]
    pub renew_days: u32,
    /// How fast what lies under older data keys is sealed again; 0: not at all.
    #[serde(default = "default_reseal_bytes_per_second")]
    pub reseal_bytes_per_second: u64,
}

fn default_reseal_bytes_per_second() -> u64 {
    4 << 20
}

/// Once a year.
fn default_renew_days() -> u32 {
    365
}

fn default_rotate_days() -> u32 {
    90
}

fn default_rotate_gib() -> u32 {
    1_024
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self {
            file: None,
            aws_kms: None,
            plaintext: false,
            cluster: String::new(),
            recovery: None,
            rotate_days: default_rotate_days(),
            rotate_gib: default_rotate_gib(),
            renew_days: default_renew_days(),
            reseal_bytes_per_second: default_reseal_bytes_per_second(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsKmsConfig {
    /// Id, ARN or alias of a symmetric key.
    pub key_id: String,
    pub region: String,
    /// Instead of the region's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default)]
    pub generation_keys: GenerationKeys,
    /// Asked in this order where the region does not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<KmsFallback>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmsFallback {
    pub region: String,
    /// The same key (a multi-region one) unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

impl KeysConfig {
    /// Makes relative paths absolute by `absolute`.
    pub fn resolve(&mut self, absolute: impl Fn(&mut PathBuf)) {
        self.file.as_mut().map(&absolute);
        self.recovery.as_mut().map(&absolute);
    }

    /// What is wrong with it: a field and what to do.
    pub fn check(&self, data_dir: &Path) -> Result<(), (&'static str, &'static str)> {
        let sources = [self.file.is_some(), self.aws_kms.is_some(), self.plaintext];
        if sources.into_iter().filter(|given| *given).count() != 1 {
            return Err(("keys", "give one of file, aws_kms, and plaintext: true"));
        }
        if self.file.as_ref().is_some_and(|file| file.starts_with(data_dir)) {
            return Err(("keys.file", "it may not lie in data_dir, which it protects: name another place"));
        }
        if self.rotate_days == 0 || self.rotate_gib == 0 {
            return Err(("keys.rotate_days", "it and keys.rotate_gib must be at least 1"));
        }
        if self.renew_days > RENEW_DAYS_MAX {
            return Err(("keys.renew_days", "it may be 3650 at most; 0 is never"));
        }
        if self.plaintext && self.recovery.is_some() {
            return Err(("keys.recovery", "there is nothing to recover in a folder that is not encrypted"));
        }
        Ok(())
    }
}

/// What wraps a generation of persons' keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationKeys {
    /// A KMS key of its own, made and deleted by the node: it needs `kms:CreateKey`, `kms:TagResource`,
    /// `kms:ScheduleKeyDeletion` and `kms:DescribeKey`.
    #[default]
    Own,
    /// The key that wraps everything else.
    Shared,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_wrap_are_renewed_within_ten_years_or_never() {
        let of = |renew_days| KeysConfig { plaintext: true, renew_days, ..KeysConfig::default() };
        for good in [0, 1, RENEW_DAYS_MAX] {
            assert!(of(good).check(Path::new("/data")).is_ok(), "{good}");
        }
        let (field, _) = of(RENEW_DAYS_MAX + 1).check(Path::new("/data")).unwrap_err();
        assert_eq!(field, "keys.renew_days");
    }
}
