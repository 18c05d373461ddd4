//! The log of this process.

use std::io::IsTerminal;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::json::FlatJson;
use super::trace::{self, TraceError, Traces};
use crate::config::log::LogFormat;

/// What is logged when `RUST_LOG` says nothing.
const DEFAULT_FILTER: &str = "info,aws_config=warn,aws_smithy_runtime=warn,sqlx=warn,hyper=warn";

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// The program's main output: `serve`.
    Stdout,
    /// Beside it: commands that print something else.
    Stderr,
}

/// Starts the log. A second call changes nothing.
pub fn init_log(format: LogFormat, target: LogTarget, default_filter: Option<&str>) {
    start(format, target, default_filter, None);
}

/// Starts the log of the service and its traces, unless there is nobody who takes them and may take so long for an answer. Needs
/// the runtime that they are sent on.
///
/// # Errors
/// When the variables that say where traces go make no sense.
pub fn init_log_and_traces(
    format: LogFormat,
    target: LogTarget,
    taker: Option<Duration>,
) -> Result<Traces, TraceError> {
    let Some(timeout) = taker else {
        start(format, target, None, None);
        return Ok(Traces::default());
    };
    let (traces, tracer) = trace::start(timeout)?;
    // Our own spans and no others: what libraries say of requests is not ours to send on.
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), LevelFilter::INFO);
    let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
    start(format, target, None, Some(layer.with_filter(ours).boxed()));
    Ok(traces)
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn start(format: LogFormat, target: LogTarget, default_filter: Option<&str>, traces: Option<BoxedLayer>) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(default_filter.unwrap_or(DEFAULT_FILTER)));
    let (writer, terminal) = match target {
        LogTarget::Stdout => (BoxMakeWriter::new(std::io::stdout), std::io::stdout().is_terminal()),
        LogTarget::Stderr => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
    };
    let text = format == LogFormat::Text || (format == LogFormat::Auto && terminal);
    // A log line that cannot be written is dropped: to complain of it on stderr would panic where that is closed
    // too, and whatever was just being done with it.
    let lines = tracing_subscriber::fmt::layer().log_internal_errors(false).with_writer(writer);
    let lines = if text {
        lines.with_ansi(terminal).with_target(false).with_filter(filter).boxed()
    } else {
        lines.fmt_fields(JsonFields::new()).event_format(FlatJson).with_filter(filter).boxed()
    };
    // Traces first: a line then knows the span that it stands in.
    let layers: Vec<BoxedLayer> = traces.into_iter().chain([lines]).collect();
    drop(tracing_subscriber::registry().with(layers).try_init());
}
