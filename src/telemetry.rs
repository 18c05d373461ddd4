//! What is seen from outside: the log and the metrics of this process.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

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
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(default_filter.unwrap_or(DEFAULT_FILTER)));
    let (writer, terminal) = match target {
        LogTarget::Stdout => (BoxMakeWriter::new(std::io::stdout), std::io::stdout().is_terminal()),
        LogTarget::Stderr => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
    };
    let text = format == LogFormat::Text || (format == LogFormat::Auto && terminal);
    // A log line that cannot be written is dropped: to complain of it on stderr would panic where that is closed
    // too, and whatever was just being done with it.
    let builder =
        tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter).with_writer(writer);
    let started = if text {
        builder.with_ansi(terminal).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    };
    drop(started);
}

/// Starts the metrics of this process.
///
/// # Errors
/// When another recorder has been installed.
pub fn init_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    use metrics::{describe_counter, describe_gauge};
    describe_counter!("zoom_archiver_webhook_answers_total", "Webhook requests by status answered");
    describe_counter!("zoom_archiver_webhook_rejected_total", "Webhook requests not believed, by reason");
    describe_counter!("zoom_archiver_events_total", "Verified events by name and what became of them");
    describe_counter!("zoom_archiver_jobs_total", "Runs of jobs by kind and outcome");
    describe_counter!("zoom_archiver_leases_lost_total", "Leases lost while a job was running");
    describe_counter!("zoom_archiver_archived_bytes_total", "Bytes carried into the archive");
    describe_counter!(
        "zoom_archiver_auto_starts_total",
        "Sessions to be recorded from their start, by outcome"
    );
    describe_counter!(
        "zoom_archiver_reconciled_files_total",
        "Files found at Zoom that no event had brought"
    );
    describe_counter!("zoom_archiver_removed_at_zoom_total", "Recordings or files removed at Zoom, by how");
    describe_counter!(
        "zoom_archiver_notifications_total",
        "Notifications by receiver, event and what became of the attempt"
    );
    describe_gauge!("zoom_archiver_failed_deliveries", "Failed deliveries in Zoom's own log, by account");
    describe_gauge!("zoom_archiver_jobs", "Jobs in the database by kind and state");
    describe_gauge!("zoom_archiver_oldest_due_seconds", "For how long the oldest due job has waited");
    describe_gauge!("zoom_archiver_database_up", "1 when the database answered this scrape");
}
