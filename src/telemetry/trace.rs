//! Traces: one from the webhook to the finished object. They are exported by OTLP (http/protobuf) to where OpenTelemetry's
//! usual variables say, which its SDK reads by itself; where they name nothing, nothing is traced.
//!
//! What lies between the receiver and a worker is the record: the trace goes through it as W3C trace context
//! (`traceparent`), written with the job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use reqwest::redirect::Policy;
use tokio::runtime::Handle;
use tracing::{Span, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// What this service is called where `OTEL_SERVICE_NAME` does not say.
const SERVICE: &str = "zoom-archiver";
/// Time for the last spans to go out when the process ends.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Traces cannot be exported. The words name the variable, and not its value, which may hold a secret.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be exported: {0}")]
pub struct TraceError(String);

impl TraceError {
    /// The SDK's words, which name the variable, up to where they quote what stands in it.
    fn new(error: impl std::fmt::Display) -> Self {
        let words = error.to_string();
        let before = words.split('\'').next().unwrap_or_default();
        Self(before.trim_end().to_owned())
    }
}

/// The traces of this process, until it ends.
#[derive(Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what has not been sent, for a moment.
    pub async fn close(self) {
        let Some(provider) = self.0 else { return };
        // Blocks until the exporter has been through, which needs this runtime.
        let closed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_SPANS)).await;
        if !matches!(closed, Ok(Ok(()))) {
            warn!("the last traces are not delivered");
        }
    }
}

/// Starts exporting, and gives what makes spans; `timeout` is for an answer to one export. Needs the runtime that the exporter
/// is to run on.
///
/// # Errors
/// When the variables make no sense.
pub(super) fn start(timeout: Duration) -> Result<(Traces, SdkTracer), TraceError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new(timeout)?)
        .build()
        .map_err(TraceError::new)?;
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
    let tracer = provider.tracer(SERVICE);
    Ok((Traces(Some(provider)), tracer))
}

/// Who we are: as the variables say, else by our own name.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let told = Resource::builder().with_attribute(version.clone()).build();
    let is_named = told
        .get(&Key::from_static_str("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if is_named {
        told
    } else {
        Resource::builder().with_service_name(SERVICE).with_attribute(version).build()
    }
}

/// What of a span's trace is written down for whoever goes on with it: `traceparent` (W3C Trace Context, section 3.2).
/// `None` when nothing is traced.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    let parts = || format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    span.is_valid().then(parts)
}

/// Has a span, which nobody has entered yet, go on with a trace that was written down. What cannot be read begins a new
/// one.
pub fn follow(span: &Span, traceparent: Option<&str>) {
    if let Some(parent) = traceparent.and_then(read) {
        // Fails where nothing is traced, and then there is nothing to be done.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

fn read(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    (version == "00" && context.is_valid()).then_some(context)
}

/// The exporter's way out. The SDK exports on a thread of its own, which has no runtime: requests run on ours.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
    /// Whether the last one failed: an outage is told of once.
    fails: Arc<AtomicBool>,
}

impl Client {
    fn new(timeout: Duration) -> Result<Self, TraceError> {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(timeout)
            .build()
            .map_err(TraceError::new)?;
        Ok(Self { client, runtime: Handle::current(), fails: Arc::default() })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let sent = self.runtime.spawn(send(self.client.clone(), request)).await?;
        let fault = match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let failed_before = self.fails.swap(fault.is_some(), Ordering::Relaxed);
        if let Some(reason) = fault.filter(|_| !failed_before) {
            warn!(reason, "traces are not delivered; this is said once until they are again");
        }
        Ok(sent?)
    }
}

/// The URL, which may hold a secret, is in no error.
async fn send(client: reqwest::Client, request: reqwest::Request) -> reqwest::Result<http::Response<Bytes>> {
    let answer = client.execute(request).await.map_err(reqwest::Error::without_url)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = http::Response::new(answer.bytes().await.map_err(reqwest::Error::without_url)?);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_as_it_was_written_and_nothing_else_is() {
        let whole = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = read(whole).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_remote());
        for odd in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-ü-ü-01",
        ] {
            assert!(read(odd).is_none(), "{odd}");
        }
    }
}
