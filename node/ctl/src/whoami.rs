//! `ctl whoami`.

use only1mcp_proto::admin as pb;
use serde_json::json;

use super::session::Session;

pub(super) async fn run(session: &Session) -> anyhow::Result<()> {
    let answer = session.principals().who_am_i(pb::WhoAmIRequest {}).await?.into_inner();
    session.printer.record(&json!({
        "tenant": answer.tenant,
        "principal": answer.principal,
        "display_name": answer.display_name,
        "via": answer.via,
        "key": answer.key_id,
        "roles": answer.roles,
        "administrative_permissions": answer.permissions,
    }))
}
