//! A receiver of traces, as a collector is one: takes OTLP by http/protobuf, and remembers what it was told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use data_encoding::HEXLOWER;
use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::program::Secrets;

/// A span, as it was told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Of the process that told it: `service.name`.
    pub(crate) service: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for the first one of a trace.
    pub(crate) parent: String,
    pub(crate) name: String,
    /// Those that are text or whole numbers.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Those of the process that told it.
    pub(crate) resource: BTreeMap<String, String>,
    /// What it was sent with.
    pub(crate) headers: HeaderMap,
}

/// The receiver; it ends with this value.
pub(crate) struct Collector {
    address: SocketAddr,
    seen: Arc<Seen>,
    server: AbortHandle,
}

#[derive(Default)]
struct Seen {
    spans: Mutex<Vec<Told>>,
    /// Everything, as it came.
    raw: Mutex<Vec<u8>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&seen));
        let serve = async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                let io = hyper_util::rt::TokioIo::new(stream);
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
            }
        };
        let server = tokio::spawn(serve).abort_handle();
        Self { address, seen, server }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` names.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn spans(&self) -> Vec<Told> {
        self.seen.spans.lock().unwrap().clone()
    }

    /// Everything that came, as text as far as it is.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.raw.lock().unwrap()).into_owned()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
        if !std::thread::panicking() {
            Secrets::in_use().assert_none_in(&self.text());
        }
    }
}

async fn take(State(seen): State<Arc<Seen>>, headers: HeaderMap, body: Bytes) -> &'static str {
    seen.raw.lock().unwrap().extend_from_slice(&body);
    let request = ExportTraceServiceRequest::decode(body).expect("a request to export traces");
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let resource = attributes(&resource.attributes);
        let service = resource.get("service.name").cloned().unwrap_or_default();
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            seen.spans.lock().unwrap().push(Told {
                service: service.clone(),
                trace: HEXLOWER.encode(&span.trace_id),
                id: HEXLOWER.encode(&span.span_id),
                parent: HEXLOWER.encode(&span.parent_span_id),
                attributes: attributes(&span.attributes),
                name: span.name,
                resource: resource.clone(),
                headers: headers.clone(),
            });
        }
    }
    // An empty answer is one that says that all was taken.
    ""
}

fn attributes(of: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    };
    of.iter().filter_map(|attribute| Some((attribute.key.clone(), text(attribute)?))).collect()
}
