//! The standard gRPC health service: whether this node is ready. The one thing that needs no credentials, so that
//! balancers can ask; it tells nothing else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::ports::HostPort;

/// How often a watch looks.
const LOOK: Duration = Duration::from_millis(500);
/// Watches at one time; they come from anybody.
const WATCHES_MAX: usize = 64;

pub(crate) struct HealthService {
    host: Arc<dyn HostPort>,
    services: &'static [&'static str],
    watches: Arc<Semaphore>,
}

impl HealthService {
    /// Knows `services` and, under the empty name, the server as a whole; all are ready together.
    pub(crate) fn new(host: Arc<dyn HostPort>, services: &'static [&'static str]) -> Self {
        Self { host, services, watches: Arc::new(Semaphore::new(WATCHES_MAX)) }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }
}

fn status(host: &dyn HostPort) -> ServingStatus {
    if host.ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(answer(status(&*self.host))))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let permit = self.watches.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("too many health watches"))?;
        let known = self.knows(&request.get_ref().service);
        let host = self.host.clone();
        let (sender, answers) = mpsc::channel(1);
        tokio::spawn(async move {
            let _permit = permit;
            let mut told = None;
            loop {
                let now = if known { status(&*host) } else { ServingStatus::ServiceUnknown };
                if told != Some(now) && sender.send(Ok(answer(now))).await.is_err() {
                    return;
                }
                told = Some(now);
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = sender.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
