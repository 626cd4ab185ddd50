//! Key-encryption keys in AWS KMS: GenerateDataKey, Decrypt and Encrypt, each bound to the key's context.
//!
//! Places (a region with a key, and perhaps an endpoint of its own) are asked in their order: the next one where one
//! does not answer or refuses. A multi-region key opens in every region what it wrapped in one. An answer that names
//! another key than the one asked for counts as wrong.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::Credentials;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, Tag};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use futures_util::future::BoxFuture;
use only1mcp_storage::Key32;
use zeroize::Zeroizing;

use crate::context::KeyContext;
use crate::provider::{KeyError, KeyProvider, NewKey, Provided, Wrapped, WrappedApart};

const NAME: &str = "AWS KMS";
/// How long a KMS key waits for its deletion: the least there is.
const PENDING_DAYS: i32 = 7;
/// What of an error's text is passed on.
const DETAIL_CHARS_MAX: usize = 300;

/// Where a key-encryption key is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KmsPlace {
    pub region: String,
    /// Id, ARN or alias.
    pub key_id: String,
    /// Instead of the region's own.
    pub endpoint: Option<String>,
}

/// How long is waited, and how often asked again, in one place.
#[derive(Clone, Debug)]
pub struct AwsKmsOptions {
    pub connect: Duration,
    pub attempt: Duration,
    pub operation: Duration,
    pub attempts_max: u32,
    /// Whether what is to be wrapped apart gets a KMS key of its own.
    pub own_keys: bool,
    /// In place of where AWS' own tools take them.
    pub credentials: Option<Credentials>,
}

impl Default for AwsKmsOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            attempt: Duration::from_secs(4),
            operation: Duration::from_secs(10),
            attempts_max: 3,
            own_keys: true,
            credentials: None,
        }
    }
}

pub struct AwsKms {
    /// Never empty.
    places: Vec<(KmsPlace, Client)>,
    options: AwsKmsOptions,
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places.iter().map(|(place, _)| place)).finish()
    }
}

/// What one call to one place gave.
enum Asked<T> {
    Given(T),
    /// Another place may do better.
    Next(KeyError),
}

impl AwsKms {
    /// Credentials come, unless given, from where AWS' own tools take them: environment, profile, web identity, container, instance.
    /// Nothing is asked of KMS yet. Errors: `Refused` when there is no place.
    pub async fn new(places: Vec<KmsPlace>, options: AwsKmsOptions) -> Result<Self, KeyError> {
        if places.is_empty() {
            return Err(KeyError::Refused { provider: NAME, detail: "no key is configured".into() });
        }
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(options.connect)
            .operation_attempt_timeout(options.attempt)
            .operation_timeout(options.operation)
            .build();
        let retries = RetryConfig::standard().with_max_attempts(options.attempts_max);
        let mut out = Vec::new();
        for place in places {
            let shared = aws_config::defaults(BehaviorVersion::latest())
                .http_client(http.clone())
                .region(Region::new(place.region.clone()))
                .timeout_config(timeouts.clone())
                .retry_config(retries.clone())
                .load()
                .await;
            let mut config = aws_sdk_kms::config::Builder::from(&shared);
            if let Some(credentials) = &options.credentials {
                config = config.credentials_provider(credentials.clone());
            }
            if let Some(endpoint) = &place.endpoint {
                config = config.endpoint_url(endpoint);
            }
            out.push((place, Client::from_conf(config.build())));
        }
        Ok(Self { places: out, options })
    }

    /// Asks the places that `of` says in turn.
    async fn ask<'a, T, F>(&'a self, of: F) -> Result<T, KeyError>
    where
        F: Fn(&'a KmsPlace, &'a Client) -> Option<BoxFuture<'a, Asked<T>>>,
    {
        let mut last = None;
        for (place, client) in &self.places {
            let Some(asking) = of(place, client) else { continue };
            // The SDK's own deadlines leave out finding credentials.
            let late = || unavailable(format!("{}: no answer in time", place.region));
            match tokio::time::timeout(self.options.operation.saturating_mul(2), asking).await {
                Ok(Asked::Given(value)) => return Ok(value),
                Ok(Asked::Next(error)) => last = worse(last, error),
                Err(_) => last = worse(last, late()),
            }
        }
        Err(last.unwrap_or_else(|| KeyError::Refused {
            provider: NAME,
            detail: "no configured region holds the key that wrapped it".into(),
        }))
    }
}

fn unavailable(detail: String) -> KeyError {
    KeyError::Unavailable { provider: NAME, detail }
}

/// Of what several places say, the one to tell: where one may come back, that; otherwise the first.
fn worse(last: Option<KeyError>, new: KeyError) -> Option<KeyError> {
    match last {
        None => Some(new),
        Some(KeyError::Refused { .. } | KeyError::Wrong { .. })
            if matches!(new, KeyError::Unavailable { .. }) =>
        {
            Some(new)
        }
        Some(last) => Some(last),
    }
}

/// The key's own id in an id or ARN; `None` for an alias, which stands for one that is not known.
fn plain_id(key: &str) -> Option<&str> {
    if key.contains("alias/") { None } else { key.rsplit('/').next() }
}

fn arn_region(key: &str) -> Option<&str> {
    key.strip_prefix("arn:")?.split(':').nth(2)
}

/// What to call the key `wrapped_by` in `region`; `None` where it is not.
fn key_in(region: &str, wrapped_by: &str) -> Option<String> {
    let home = arn_region(wrapped_by);
    if home.is_none_or(|home| home == region) {
        return Some(wrapped_by.to_owned());
    }
    let home = home?;
    let multi_region = plain_id(wrapped_by).is_some_and(|id| id.starts_with("mrk-"));
    multi_region.then(|| wrapped_by.replacen(&format!(":{home}:"), &format!(":{region}:"), 1))
}

fn same_key(expected: &str, answered: Option<&str>) -> Result<String, KeyError> {
    let answered = answered.unwrap_or_default();
    let fits = plain_id(expected).is_none_or(|id| plain_id(answered) == Some(id));
    if fits && !answered.is_empty() {
        return Ok(answered.to_owned());
    }
    Err(KeyError::Wrong {
        provider: NAME,
        detail: "the answer is about another key than was asked for".into(),
    })
}

fn key_of(plaintext: Option<Blob>) -> Result<Key32, KeyError> {
    let bytes = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
    let key = <[u8; 32]>::try_from(bytes.as_slice());
    let mut key = key.map_err(|_| KeyError::Wrong {
        provider: NAME,
        detail: "the answer holds no key of 32 bytes".into(),
    })?;
    Ok(Key32::take(&mut key))
}

/// A data key whose wrapped form is lost could never be opened again.
fn wrapped_of(blob: Option<Blob>) -> Result<Vec<u8>, KeyError> {
    let bytes = blob.map(Blob::into_inner).filter(|bytes| !bytes.is_empty());
    bytes.ok_or_else(|| KeyError::Wrong { provider: NAME, detail: "the answer holds no wrapped key".into() })
}

fn pairs(context: &KeyContext) -> HashMap<String, String> {
    context.pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// In words of ours: an error of the SDK may hold the whole request.
fn explained<E, R>(place: &KmsPlace, error: &SdkError<E, R>) -> KeyError
where
    E: ProvideErrorMetadata,
{
    let detail = |text: String| {
        format!("{}: {}", place.region, text.chars().take(DETAIL_CHARS_MAX).collect::<String>())
    };
    match error {
        SdkError::ServiceError(context) => {
            let code = context.err().code().unwrap_or("unknown");
            let text = detail(format!("{code} {}", context.err().message().unwrap_or_default()));
            match code {
                "InvalidCiphertextException" | "IncorrectKeyException" => {
                    KeyError::Wrong { provider: NAME, detail: text }
                }
                "DisabledException"
                | "AccessDeniedException"
                | "NotFoundException"
                | "KMSInvalidStateException"
                | "InvalidKeyUsageException"
                | "UnrecognizedClientException"
                | "InvalidSignatureException"
                | "ExpiredTokenException"
                | "ValidationException" => KeyError::Refused { provider: NAME, detail: text },
                _ => unavailable(text),
            }
        }
        SdkError::TimeoutError(_) => unavailable(detail("no answer in time".into())),
        SdkError::ResponseError(_) => unavailable(detail("its answer cannot be read".into())),
        SdkError::DispatchFailure(failure) => {
            let mut text = "no connection".to_owned();
            let mut cause = failure.as_connector_error().and_then(|error| error.source());
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            unavailable(detail(text))
        }
        _ => unavailable(detail("no request could be made: are there credentials?".into())),
    }
}

async fn generate(place: &KmsPlace, client: &Client, context: &KeyContext) -> Result<NewKey, KeyError> {
    let mut answer = client
        .generate_data_key()
        .key_id(&place.key_id)
        .key_spec(DataKeySpec::Aes256)
        .set_encryption_context(Some(pairs(context)))
        .send()
        .await
        .map_err(|error| explained(place, &error))?;
    let plain = key_of(answer.plaintext.take())?;
    let key = same_key(&place.key_id, answer.key_id())?;
    let bytes = wrapped_of(answer.ciphertext_blob.take())?;
    Ok(NewKey { plain, wrapped: Wrapped { provider: Provided::AwsKms, key, bytes } })
}

async fn decrypt(
    place: &KmsPlace,
    client: &Client,
    (key, bytes): (String, &[u8]),
    context: &KeyContext,
) -> Result<Key32, KeyError> {
    let mut answer = client
        .decrypt()
        .key_id(&key)
        .ciphertext_blob(Blob::new(bytes))
        .set_encryption_context(Some(pairs(context)))
        .send()
        .await
        .map_err(|error| explained(place, &error))?;
    let plain = key_of(answer.plaintext.take())?;
    same_key(&key, answer.key_id())?;
    Ok(plain)
}

async fn encrypt(
    place: &KmsPlace,
    client: &Client,
    plain: &Key32,
    context: &KeyContext,
) -> Result<Wrapped, KeyError> {
    let mut answer = client
        .encrypt()
        .key_id(&place.key_id)
        .plaintext(Blob::new(plain.bytes().as_slice()))
        .set_encryption_context(Some(pairs(context)))
        .send()
        .await
        .map_err(|error| explained(place, &error))?;
    let key = same_key(&place.key_id, answer.key_id())?;
    let bytes = wrapped_of(answer.ciphertext_blob.take())?;
    Ok(Wrapped { provider: Provided::AwsKms, key, bytes })
}

/// A KMS key for what `context` tells, and for nothing else.
async fn create(place: &KmsPlace, client: &Client, context: &KeyContext) -> Result<String, KeyError> {
    let mut request =
        client.create_key().description(format!("only1mcp {} {}", context.purpose.name(), context.node));
    for (name, value) in context.pairs() {
        let tag = Tag::builder().tag_key(name).tag_value(value).build();
        request = request.tags(tag.map_err(|error| unavailable(error.to_string()))?);
    }
    let made = request.send().await.map_err(|error| explained(place, &error))?;
    let arn = made.key_metadata.and_then(|metadata| metadata.arn);
    arn.ok_or_else(|| KeyError::Wrong { provider: NAME, detail: "the answer names no key".into() })
}

/// Nobody can use it from here on; its keeper may call it back for a week.
async fn schedule_deletion(place: &KmsPlace, client: &Client, key: &str) -> Result<u64, KeyError> {
    let asked = client.schedule_key_deletion().key_id(key).pending_window_in_days(PENDING_DAYS).send().await;
    let date = match asked {
        Ok(answer) => answer.deletion_date,
        Err(error) => match error.code() {
            Some("NotFoundException") => return Ok(0),
            // It waits for its end already.
            Some("KMSInvalidStateException") => {
                let described = client.describe_key().key_id(key).send().await;
                let described = described.map_err(|error| explained(place, &error))?;
                described.key_metadata.and_then(|metadata| metadata.deletion_date)
            }
            _ => return Err(explained(place, &error)),
        },
    };
    let ms = date.and_then(|date| date.to_millis().ok()).and_then(|ms| u64::try_from(ms).ok());
    ms.ok_or_else(|| KeyError::Wrong {
        provider: NAME,
        detail: "the answer tells no date of deletion".into(),
    })
}

async fn wrap_apart(
    place: &KmsPlace,
    client: &Client,
    plain: &Key32,
    context: &KeyContext,
) -> Result<WrappedApart, KeyError> {
    let key_id = create(place, client, context).await?;
    let own = KmsPlace { key_id, ..place.clone() };
    match encrypt(&own, client, plain, context).await {
        Ok(wrapped) => Ok(WrappedApart { wrapped, own: true }),
        Err(error) => {
            if let Err(left) = schedule_deletion(place, client, &own.key_id).await {
                tracing::error!(code = "KMS_KEY_LEFT", key = own.key_id, %left, "a KMS key was made that wraps nothing: delete it");
            }
            Err(error)
        }
    }
}

fn asked<T>(result: Result<T, KeyError>) -> Asked<T> {
    match result {
        Ok(value) => Asked::Given(value),
        Err(error) => Asked::Next(error),
    }
}

impl KeyProvider for AwsKms {
    fn kind(&self) -> Provided {
        Provided::AwsKms
    }

    fn generate<'a>(&'a self, context: &'a KeyContext) -> BoxFuture<'a, Result<NewKey, KeyError>> {
        Box::pin(self.ask(move |place, client| {
            Some(Box::pin(async move { asked(generate(place, client, context).await) }))
        }))
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a Wrapped,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<Key32, KeyError>> {
        Box::pin(self.ask(move |place, client| {
            let key = key_in(&place.region, &wrapped.key)?;
            Some(Box::pin(async move { asked(decrypt(place, client, (key, &wrapped.bytes), context).await) }))
        }))
    }

    fn wrap<'a>(
        &'a self,
        plain: &'a Key32,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<Wrapped, KeyError>> {
        Box::pin(self.ask(move |place, client| {
            Some(Box::pin(async move { asked(encrypt(place, client, plain, context).await) }))
        }))
    }

    fn wrap_apart<'a>(
        &'a self,
        plain: &'a Key32,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<WrappedApart, KeyError>> {
        if !self.options.own_keys {
            return Box::pin(async move {
                Ok(WrappedApart { wrapped: self.wrap(plain, context).await?, own: false })
            });
        }
        Box::pin(self.ask(move |place, client| {
            Some(Box::pin(async move { asked(wrap_apart(place, client, plain, context).await) }))
        }))
    }

    fn destroy<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<u64, KeyError>> {
        let wraps = self.places.iter().any(|(place, _)| plain_id(&place.key_id) == plain_id(key));
        if wraps || arn_region(key).is_none() {
            let detail = format!("{key} was not made for one purpose");
            return Box::pin(async move { Err(KeyError::Refused { provider: NAME, detail }) });
        }
        Box::pin(self.ask(move |place, client| {
            let id = plain_id(key).filter(|_| arn_region(key) == Some(place.region.as_str()))?;
            Some(Box::pin(async move { asked(schedule_deletion(place, client, id).await) }))
        }))
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), KeyError>> {
        Box::pin(async { Ok(()) })
    }

    fn reload(&self) -> Result<(), KeyError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_by_its_own_id() {
        let arn = "arn:aws:kms:eu-central-1:111122223333:key/1234";
        assert_eq!(plain_id(arn), Some("1234"));
        assert_eq!(plain_id("alias/only1mcp"), None);
        assert_eq!(same_key("1234", Some(arn)).unwrap(), arn);
        assert!(same_key("alias/only1mcp", Some(arn)).is_ok());
        assert!(same_key("1235", Some(arn)).is_err());
        assert!(same_key("1234", None).is_err());
    }

    #[test]
    fn a_multi_region_key_is_found_in_another_region_and_a_plain_one_is_not() {
        let mrk = "arn:aws:kms:eu-central-1:111122223333:key/mrk-12";
        assert_eq!(key_in("eu-central-1", mrk).as_deref(), Some(mrk));
        assert_eq!(
            key_in("eu-west-1", mrk).as_deref(),
            Some("arn:aws:kms:eu-west-1:111122223333:key/mrk-12")
        );
        let plain = "arn:aws:kms:eu-central-1:111122223333:key/12";
        assert_eq!(key_in("eu-west-1", plain), None);
    }
}
