//! Lets a request through to a service only with valid credentials. Our own services check for themselves, because
//! they need to know who calls; this is for the one that is not ours (reflection).

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;

use crate::core::Core;
use crate::error::AdminError;

#[derive(Clone)]
pub(crate) struct Guarded<S> {
    pub(crate) core: Arc<Core>,
    pub(crate) method: &'static str,
    pub(crate) inner: S,
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

async fn check(core: &Core, method: &'static str, facts: tonic::Request<()>) -> Result<(), AdminError> {
    let call = core.authenticate(method, &facts).await?;
    core.authorize(&call, &core.ports.cluster.view(), &call.identity.tenant)
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // The service that was polled ready is the one to call.
        let unready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, unready);
        let (core, method) = (self.core.clone(), self.method);
        let mut facts = tonic::Request::new(());
        *facts.metadata_mut() = MetadataMap::from_headers(request.headers().clone());
        *facts.extensions_mut() = request.extensions().clone();
        Box::pin(async move {
            match check(&core, method, facts).await {
                Ok(()) => inner.call(request).await,
                Err(error) => Ok(tonic::Status::from(error).into_http()),
            }
        })
    }
}
