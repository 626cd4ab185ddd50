//! Holds what the TLS files say now: a change is taken over while connections live on, a bad change is not.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::{Duration, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::TlsError;
use super::files::{Contents, Material, TlsFiles};

/// How often the files are looked at, in milliseconds.
pub const RELOAD_EVERY_MS: u64 = 3_000;

/// The present certificate, key and roots of one set of files.
pub struct Keeper {
    files: TlsFiles,
    current: ArcSwap<Material>,
    /// The bytes last seen, also when they were bad: a bad file is reported once, not every few seconds.
    seen: Mutex<Contents>,
}

impl Keeper {
    /// Reads the files for the first time.
    /// Errors: a node does not start with TLS files it cannot use.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let contents = files.read()?;
        let material = files.parse(&contents, 0)?;
        Ok(Arc::new(Self { files, current: ArcSwap::from_pointee(material), seen: Mutex::new(contents) }))
    }

    /// What the files said when they were last good.
    pub fn current(&self) -> Arc<Material> {
        self.current.load_full()
    }

    /// The first certificate of the chain in use, as DER.
    pub fn certificate_der(&self) -> Vec<u8> {
        self.current().certified.cert.first().map(|der| der.to_vec()).unwrap_or_default()
    }

    /// Looks at the files now; `true` when a change was taken over.
    /// Errors: the change is bad; the old material stays in use. A bad change is an error once only.
    pub async fn reload(&self) -> Result<bool, TlsError> {
        let mut seen = self.seen.lock().await;
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || files.read());
        let contents = match read.await {
            Ok(read) => read?,
            // Only a runtime that shuts down drops a blocking task.
            Err(_) => return Ok(false),
        };
        if *seen == contents {
            return Ok(false);
        }
        let parsed = self.files.parse(&contents, self.current().generation.saturating_add(1));
        *seen = contents;
        self.current.store(Arc::new(parsed?));
        Ok(true)
    }

    /// Looks at the files every `RELOAD_EVERY_MS` until told to stop.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval(Duration::from_millis(RELOAD_EVERY_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let certificate = self.files.certificate.display();
            match self.reload().await {
                Ok(true) => tracing::info!(%certificate, "TLS files changed and were taken over"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%certificate, %error, "changed TLS files cannot be used; the old ones stay in use");
                }
            }
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("files", &self.files).finish_non_exhaustive()
    }
}
