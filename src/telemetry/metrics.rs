//! The metrics of this process: what each is called, in which unit it counts, and what it says. Where they are counted
//! is where the thing happens.
//!
//! Labels are bounded: their values are words of this program, names of accounts from the configuration, or names of
//! events that Zoom has signed, of which no more than a fixed number are kept apart. A counter whose labels are known
//! beforehand begins at nought when the process starts, so that the first thing it counts is seen as an increase.

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// What a counter begins with.
enum Start {
    /// It has no labels.
    Alone,
    /// It has one label, with these values.
    By(&'static str, &'static [&'static str]),
    /// It has the account as its only label: see [`expect_accounts`].
    ByAccount,
    /// With nothing: its labels are not known beforehand.
    WhenSeen,
}

use Start::{Alone, By, ByAccount, WhenSeen};

/// Name, unit, description, start.
const COUNTERS: &[(&str, Unit, &str, Start)] = &[
    (
        "zoom_archiver_webhook_answers_total",
        Unit::Count,
        "Webhook requests by status answered",
        By("status", &["200", "400", "401", "408", "413", "503"]),
    ),
    (
        "zoom_archiver_webhook_rejected_total",
        Unit::Count,
        "Webhook requests not believed, by reason",
        By("reason", &["missing", "malformed", "stale", "wrong"]),
    ),
    ("zoom_archiver_events_total", Unit::Count, "Verified events by name and what became of them", WhenSeen),
    (
        "zoom_archiver_endangered_files_total",
        Unit::Count,
        "Files of recordings that left Zoom before they were archived, by how",
        By("state", &["trashed", "deleted"]),
    ),
    ("zoom_archiver_jobs_total", Unit::Count, "Runs of jobs by kind and outcome", WhenSeen),
    (
        "zoom_archiver_failures_total",
        Unit::Count,
        "Failures that ended a run, by side (zoom, api, archive, database) and class",
        WhenSeen,
    ),
    ("zoom_archiver_leases_lost_total", Unit::Count, "Leases lost while a job was running here", Alone),
    (
        "zoom_archiver_leases_expired_total",
        Unit::Count,
        "Jobs whose worker was gone, by what became of them",
        By("then", &["waiting", "parked"]),
    ),
    ("zoom_archiver_files_gone_total", Unit::Count, "Files that Zoom has no more, not archived", ByAccount),
    ("zoom_archiver_suspect_files_total", Unit::Count, "Files archived although they look wrong", Alone),
    ("zoom_archiver_archived_bytes_total", Unit::Bytes, "Bytes of files that were archived", ByAccount),
    ("zoom_archiver_received_bytes_total", Unit::Bytes, "Bytes that came from Zoom", Alone),
    ("zoom_archiver_parts_sent_total", Unit::Count, "Parts sent to the archive", Alone),
    (
        "zoom_archiver_parts_resent_total",
        Unit::Count,
        "Parts to be sent again, because the upload that held them was lost or given up",
        Alone,
    ),
    (
        "zoom_archiver_parts_kept_total",
        Unit::Count,
        "Parts fetched again after an interruption that the archive held already",
        Alone,
    ),
    ("zoom_archiver_reconnects_total", Unit::Count, "Downloads that went on by another connection", Alone),
    (
        "zoom_archiver_access_refreshed_total",
        Unit::Count,
        "Times that Zoom's API gave fresh access to a file",
        ByAccount,
    ),
    ("zoom_archiver_leftovers_total", Unit::Count, "Unfinished uploads that were given up", Alone),
    (
        "zoom_archiver_pruned_rows_total",
        Unit::Count,
        "Rows forgotten because of their age, by table",
        By("table", &["events", "jobs"]),
    ),
    (
        "zoom_archiver_auto_starts_total",
        Unit::Count,
        "Sessions to be recorded from their start, by outcome",
        By("outcome", &["started", "needless", "refused", "failed"]),
    ),
    (
        "zoom_archiver_reconciled_files_total",
        Unit::Count,
        "Files found at Zoom that no event had brought",
        Alone,
    ),
    (
        "zoom_archiver_removed_at_zoom_total",
        Unit::Count,
        "Recordings or files removed at Zoom, by how",
        By("how", &["trashed", "deleted"]),
    ),
    (
        "zoom_archiver_verified_files_total",
        Unit::Count,
        "Files whose objects were read again, by what was found",
        By(
            "result",
            &["right", "missing", "size", "sha256", "unreadable", "checksum", "no_manifest", "manifest"],
        ),
    ),
    (
        "zoom_archiver_notifications_total",
        Unit::Count,
        "Attempts to tell a receiver something, by receiver, event and what became of it",
        WhenSeen,
    ),
];

/// Name, unit, description.
const GAUGES: &[(&str, Unit, &str)] = &[
    ("zoom_archiver_build_info", Unit::Count, "1, with the version of the program"),
    ("zoom_archiver_database_up", Unit::Count, "1 when the database answered when it was last asked"),
    (
        "zoom_archiver_jobs",
        Unit::Count,
        "Jobs in the database that are not finished, by kind, state and account",
    ),
    (
        "zoom_archiver_oldest_unverified_seconds",
        Unit::Seconds,
        "For how long that object was not read again of which it is longest, since it was verified or archived",
    ),
    (
        "zoom_archiver_findings",
        Unit::Count,
        "Archived files that are not as they were proven, by what was found",
    ),
    (
        "zoom_archiver_archive_room_bytes",
        Unit::Bytes,
        "Bytes that may still be written to an archive that is a directory",
    ),
    ("zoom_archiver_foreign_objects", Unit::Count, "Objects in the archive that no row knows"),
    (
        "zoom_archiver_oldest_due_seconds",
        Unit::Seconds,
        "For how long the oldest due job has waited, by kind",
    ),
    (
        "zoom_archiver_oldest_stopped_seconds",
        Unit::Seconds,
        "For how long the first parked or dead job has been that, by kind and state",
    ),
    ("zoom_archiver_running_jobs", Unit::Count, "Jobs that run in this process, by kind"),
    ("zoom_archiver_longest_run_seconds", Unit::Seconds, "For how long the longest of them has run, by kind"),
    (
        "zoom_archiver_worker_careful",
        Unit::Count,
        "1 while this process takes on little because something is away",
    ),
    (
        "zoom_archiver_nearest_loss_seconds",
        Unit::Seconds,
        "Until the next file that is not archived cannot be had any more; infinite when no such moment is known",
    ),
    ("zoom_archiver_overdue_files", Unit::Count, "Files that are not archived and past that moment"),
    (
        "zoom_archiver_unreadable_events",
        Unit::Count,
        "Events that are kept as they came, because they could not be read; counted up to 10000",
    ),
    ("zoom_archiver_parts_in_memory", Unit::Count, "Parts being fetched, hashed or sent by this process"),
    ("zoom_archiver_part_memory_bytes", Unit::Bytes, "Memory that those parts hold"),
    (
        "zoom_archiver_part_memory_limit_bytes",
        Unit::Bytes,
        "Memory that parts may hold: transfer.memory_bytes",
    ),
    (
        "zoom_archiver_database_connections",
        Unit::Count,
        "Connections of this process to the database, by purpose and whether they are busy",
    ),
    ("zoom_archiver_database_connections_limit", Unit::Count, "As many of them as there may be, by purpose"),
    ("zoom_archiver_database_bytes", Unit::Bytes, "Room that the database takes"),
    (
        "zoom_archiver_database_oldest_transaction_seconds",
        Unit::Seconds,
        "Age of the oldest transaction of any client (PostgreSQL)",
    ),
    (
        "zoom_archiver_table_rows",
        Unit::Count,
        "Rows by table, live or dead, as the database estimates (PostgreSQL)",
    ),
    (
        "zoom_archiver_failed_deliveries",
        Unit::Count,
        "Failed deliveries in Zoom's own log, by account, as of the last round of reconciling",
    ),
];

/// What takes milliseconds when all is well: answers, statements.
const SHORT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// What takes seconds or hours: runs, and the wait for them.
const LONG: &[f64] = &[0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];

/// Name, description, buckets; all in seconds.
const HISTOGRAMS: &[(&str, &str, &[f64])] = &[
    (
        "zoom_archiver_webhook_answer_seconds",
        "Time from the head of a webhook request to its answer, by status",
        SHORT,
    ),
    ("zoom_archiver_claim_seconds", "Time that the database took for a claim", SHORT),
    ("zoom_archiver_job_wait_seconds", "Time from when a job was due to its claim, by kind", LONG),
    ("zoom_archiver_run_seconds", "Time that a run of a job took, by kind and outcome", LONG),
];

/// Starts the metrics of this process.
///
/// # Errors
/// When another recorder has been installed.
pub fn init_metrics() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (name, _, buckets) in HISTOGRAMS {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
    }
    let handle = builder.install_recorder()?;
    describe();
    begin();
    Ok(handle)
}

fn describe() {
    for (name, unit, text, _) in COUNTERS {
        metrics::describe_counter!(*name, *unit, *text);
    }
    for (name, unit, text) in GAUGES {
        metrics::describe_gauge!(*name, *unit, *text);
    }
    for (name, text, _) in HISTOGRAMS {
        metrics::describe_histogram!(*name, Unit::Seconds, *text);
    }
}

fn begin() {
    for (name, _, _, start) in COUNTERS {
        match start {
            Alone => metrics::counter!(*name).increment(0),
            By(label, values) => {
                for value in *values {
                    metrics::counter!(*name, *label => *value).increment(0);
                }
            }
            ByAccount | WhenSeen => {}
        }
    }
    metrics::gauge!("zoom_archiver_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Has the counters that are kept by account alone begin at nought, for these accounts.
pub fn expect_accounts<'a>(accounts: impl IntoIterator<Item = &'a str>) {
    for account in accounts {
        for (name, _, _, start) in COUNTERS {
            if matches!(start, ByAccount) {
                metrics::counter!(*name, "account" => account.to_owned()).increment(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_with_its_unit() {
        for (name, unit, _, _) in COUNTERS {
            assert!(name.ends_with("_total"), "{name}");
            assert_eq!(name.ends_with("_bytes_total"), *unit == Unit::Bytes, "{name}");
        }
        for (name, unit, _) in GAUGES {
            assert_eq!(name.ends_with("_seconds"), *unit == Unit::Seconds, "{name}");
            assert_eq!(name.ends_with("_bytes"), *unit == Unit::Bytes, "{name}");
        }
        for (name, _, buckets) in HISTOGRAMS {
            assert!(name.ends_with("_seconds"), "{name}");
            assert!(buckets.is_sorted(), "{name}");
        }
    }
}
