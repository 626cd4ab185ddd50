//! Resource quotas as they are typed and shown.

use only1mcp_proto::model::ResourceQuotas;
use serde_json::{Map, Value, json};

macro_rules! quotas {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        fn field<'q>(quotas: &'q mut ResourceQuotas, name: &str) -> Option<&'q mut Option<u64>> {
            match name {
                $(stringify!($name) => Some(&mut quotas.$name),)*
                _ => None,
            }
        }

        /// Every bound; `unlimited` where there is none.
        pub(super) fn json_of(quotas: Option<&ResourceQuotas>) -> Value {
            let quotas = quotas.copied().unwrap_or_default();
            let mut out = Map::new();
            $(out.insert(
                stringify!($name).to_owned(),
                quotas.$name.map_or_else(|| json!("unlimited"), |bound| json!(bound)),
            );)*
            Value::Object(out)
        }
    };
}

quotas! {
    max_concurrent_requests max_requests_per_minute cpu_millicores memory_mib storage_mib max_backends max_users
    max_tokens_per_day max_context_size bandwidth_mbps max_connections
}

/// Sets `NAME=NUMBER` or `NAME=unlimited`.
pub(super) fn set(quotas: &mut ResourceQuotas, name: &str, value: &str) -> anyhow::Result<()> {
    let bound = match value {
        "unlimited" => None,
        number => {
            Some(number.parse().map_err(|_| anyhow::anyhow!("{value:?} is neither a number nor unlimited"))?)
        }
    };
    let slot = field(quotas, name);
    *slot.ok_or_else(|| anyhow::anyhow!("{name:?} is no quota; there are {}", NAMES.join(", ")))? = bound;
    Ok(())
}
