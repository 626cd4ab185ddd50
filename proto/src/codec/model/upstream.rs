//! Upstreams, with their secrets for the log and the rows, and without them for whoever reads.

use std::collections::BTreeMap;

use only1mcp_domain::model::{HeaderSecret, SessionMode, Transport, Upstream};
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::DecodeError;
use crate::codec::parts::{Decoded, Text as _, enumeration, record, required, text, wire_enum};
use crate::model;

wire_enum!(SessionMode, model::SessionMode, "SessionMode", [PerSession, SharedStateless]);

fn write_transport(transport: &Transport) -> model::Transport {
    use model::transport::Kind;
    let variable = |(name, value): (&String, &String)| model::EnvironmentVariable {
        name: name.clone(),
        value: Some(value.clone()),
    };
    let kind = match transport {
        Transport::Http { url } => Kind::Http(model::HttpTransport { url: url.clone() }),
        Transport::Stdio { command, args, env } => Kind::Stdio(model::StdioTransport {
            command: command.clone(),
            args: args.clone(),
            env: env.iter().map(variable).collect(),
        }),
    };
    model::Transport { kind: Some(kind) }
}

fn environment(variables: Vec<model::EnvironmentVariable>) -> Decoded<BTreeMap<String, String>> {
    let mut env = BTreeMap::new();
    for variable in variables {
        let value = required("EnvironmentVariable.value", variable.value)?;
        if env.insert(variable.name, value).is_some() {
            return Err(DecodeError::invalid("StdioTransport.env", "a variable is named twice"));
        }
    }
    Ok(env)
}

impl TryFrom<model::Transport> for Transport {
    type Error = DecodeError;

    fn try_from(wire: model::Transport) -> Result<Self, DecodeError> {
        use model::transport::Kind;
        Ok(match required("Transport.kind", wire.kind)? {
            Kind::Http(http) => Self::Http { url: http.url },
            Kind::Stdio(stdio) => {
                Self::Stdio { command: stdio.command, args: stdio.args, env: environment(stdio.env)? }
            }
        })
    }
}

impl model::Upstream {
    /// Everything, secrets too: for the log and the rows, never for an answer of the API.
    pub fn with_secrets(upstream: &Upstream) -> Self {
        let header =
            |h: &HeaderSecret| model::HeaderSecret { name: h.name.clone(), value: Some(h.value.clone()) };
        Self {
            tenant: upstream.tenant.written(),
            id: upstream.id.written(),
            description: upstream.description.clone(),
            transport: Some(write_transport(&upstream.transport)),
            session_mode: model::SessionMode::from(upstream.session_mode).into(),
            headers: upstream.headers.iter().map(header).collect(),
            enabled: upstream.enabled,
            disabled_tools: upstream.disabled_tools.clone(),
            concurrency_max: upstream.concurrency_max,
            call_timeout_ms: upstream.call_timeout_ms,
            created_at_ms: upstream.created_at.0,
            updated_at_ms: upstream.updated_at.0,
        }
    }

    /// What the API shows: names of headers and of environment variables, without their values.
    pub fn redacted(upstream: &Upstream) -> Self {
        let mut wire = Self::with_secrets(upstream);
        for header in &mut wire.headers {
            header.value = None;
        }
        for variable in wire.environment_mut() {
            variable.value = None;
        }
        wire
    }

    /// Fills in values that were left out, as in an edited answer of the API, from the stored record: headers by name
    /// and position among headers of that name, environment variables by name. Only while URL, or command and
    /// arguments, are the stored ones: whoever may edit an upstream must not have its secrets sent elsewhere. What stays
    /// absent is refused by the conversion.
    pub fn keep_secrets_of(&mut self, stored: &Upstream) {
        if !self.same_destination(&stored.transport) {
            return;
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for header in &mut self.headers {
            let position = seen.entry(header.name.to_ascii_lowercase()).or_default();
            if header.value.is_none() {
                let same_name = |h: &&HeaderSecret| h.name.eq_ignore_ascii_case(&header.name);
                header.value =
                    stored.headers.iter().filter(same_name).nth(*position).map(|h| h.value.clone());
            }
            *position += 1;
        }
        if let Transport::Stdio { env, .. } = &stored.transport {
            for variable in self.environment_mut() {
                if variable.value.is_none() {
                    variable.value = env.get(&variable.name).cloned();
                }
            }
        }
    }

    fn same_destination(&self, stored: &Transport) -> bool {
        use model::transport::Kind;
        match (self.transport.as_ref().and_then(|transport| transport.kind.as_ref()), stored) {
            (Some(Kind::Http(http)), Transport::Http { url }) => http.url == *url,
            (Some(Kind::Stdio(stdio)), Transport::Stdio { command, args, .. }) => {
                stdio.command == *command && stdio.args == *args
            }
            _ => false,
        }
    }

    fn environment_mut(&mut self) -> &mut [model::EnvironmentVariable] {
        match self.transport.as_mut().and_then(|transport| transport.kind.as_mut()) {
            Some(model::transport::Kind::Stdio(stdio)) => &mut stdio.env,
            Some(model::transport::Kind::Http(_)) | None => &mut [],
        }
    }
}

/// Errors: a value left out (see [`model::Upstream::keep_secrets_of`]).
impl TryFrom<model::Upstream> for Upstream {
    type Error = DecodeError;

    fn try_from(wire: model::Upstream) -> Result<Self, DecodeError> {
        let headers = wire.headers.into_iter().map(|header| {
            let value = required("HeaderSecret.value", header.value)?;
            Ok(HeaderSecret { name: header.name, value })
        });
        Ok(Self {
            tenant: text("Upstream.tenant", &wire.tenant)?,
            id: text("Upstream.id", &wire.id)?,
            description: wire.description,
            transport: record("Upstream.transport", wire.transport)?,
            session_mode: enumeration::<model::SessionMode, _>("Upstream.session_mode", wire.session_mode)?,
            headers: headers.collect::<Result<_, DecodeError>>()?,
            enabled: wire.enabled,
            disabled_tools: wire.disabled_tools,
            concurrency_max: wire.concurrency_max,
            call_timeout_ms: wire.call_timeout_ms,
            created_at: TimestampMs(wire.created_at_ms),
            updated_at: TimestampMs(wire.updated_at_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::ids::{TenantId, UpstreamId};

    use super::*;

    fn upstream() -> Upstream {
        let header =
            |name: &str, value: &str| HeaderSecret { name: name.to_owned(), value: value.to_owned() };
        Upstream {
            tenant: TenantId::new("acme").unwrap(),
            id: UpstreamId::new("files").unwrap(),
            description: String::new(),
            transport: Transport::Stdio {
                command: "server".to_owned(),
                args: vec!["--quiet".to_owned()],
                env: BTreeMap::from([("TOKEN".to_owned(), "hidden-1".to_owned())]),
            },
            session_mode: SessionMode::PerSession,
            headers: vec![header("X-Key", "hidden-2"), header("x-key", "hidden-3")],
            enabled: true,
            disabled_tools: Vec::new(),
            concurrency_max: 4,
            call_timeout_ms: 1_000,
            created_at: TimestampMs(1),
            updated_at: TimestampMs(2),
        }
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        let shown = model::Upstream::redacted(&upstream());
        assert!(!prost::Message::encode_to_vec(&shown).windows(6).any(|w| w == b"hidden"));
        assert!(!format!("{:?}", model::Upstream::with_secrets(&upstream())).contains("hidden"));
        assert_eq!(shown.headers.len(), 2);
    }

    #[test]
    fn an_edited_answer_keeps_the_stored_secrets() {
        let mut edited = model::Upstream::redacted(&upstream());
        assert!(Upstream::try_from(edited.clone()).is_err());
        edited.description = "files".to_owned();
        edited.keep_secrets_of(&upstream());
        let expected = Upstream { description: "files".to_owned(), ..upstream() };
        assert_eq!(Upstream::try_from(edited).unwrap(), expected);
    }

    #[test]
    fn a_new_value_wins_and_a_new_name_needs_one() {
        let mut edited = model::Upstream::redacted(&upstream());
        edited.headers[1].value = Some("new".to_owned());
        edited.keep_secrets_of(&upstream());
        assert_eq!(Upstream::try_from(edited.clone()).unwrap().headers[1].value, "new");
        edited.headers.push(model::HeaderSecret { name: "other".to_owned(), value: None });
        edited.keep_secrets_of(&upstream());
        assert_eq!(Upstream::try_from(edited).unwrap_err().what, "HeaderSecret.value");
    }

    #[test]
    fn another_destination_does_not_get_the_stored_secrets() {
        let mut edited = model::Upstream::redacted(&upstream());
        if let Some(model::transport::Kind::Stdio(stdio)) = edited.transport.as_mut().unwrap().kind.as_mut() {
            stdio.args.push("--send-to=elsewhere".to_owned());
        }
        edited.keep_secrets_of(&upstream());
        assert!(edited.headers.iter().all(|header| header.value.is_none()));
        assert!(Upstream::try_from(edited).is_err());
    }
}
