//! `serve`: runs the service until it is told to stop.

use std::process::ExitCode;

use clap::Args;
use tracing::info;

use super::{Common, failed};
use crate::app::{App, Role};
use crate::http::public::WEBHOOK_PATH;
use crate::lifecycle;
use crate::telemetry::{self, LogTarget};
use crate::zoom::auto_start::SESSION_STARTED;
use crate::zoom::events::EVENTS;

/// Options of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// What this process does; several processes on one database share the work.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Role::ALL)]
    roles: Vec<Role>,
}

impl ServeArgs {
    pub(super) fn roles(&self) -> &[Role] {
        &self.roles
    }
}

pub(super) async fn run(common: &Common, args: ServeArgs) -> ExitCode {
    let (config, secrets) = match common.load() {
        Ok(loaded) => loaded,
        Err(error) => return failed(&error.to_string()),
    };
    let taker = secrets.traces;
    let traces = match telemetry::init_log_and_traces(config.log.format, LogTarget::Stdout, taker) {
        Ok(traces) => traces,
        Err(error) => return failed(&error.to_string()),
    };
    let served = serve(config, secrets, &args.roles).await;
    traces.close().await;
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

async fn serve(
    config: crate::config::Config,
    secrets: crate::config::Secrets,
    roles: &[Role],
) -> Result<(), Box<dyn std::error::Error>> {
    let stop = lifecycle::stop_on_signals()?;
    let metrics = telemetry::init_metrics()?;
    let app = tokio::select! {
        app = App::open(config, secrets, roles) => app?,
        () = stop.cancelled() => return Ok(()),
    };
    let mut events: Vec<_> = EVENTS.iter().map(|kind| kind.name).collect();
    if !app.config.zoom.auto_start.is_empty() {
        events.push(SESSION_STARTED);
    }
    let service = app.start(roles, metrics, stop).await?;
    if roles.contains(&Role::Receiver) {
        info!(
            zoom.webhook_url = format!("https://YOUR-HOST{WEBHOOK_PATH}"),
            zoom.events = events.join(","),
            "register this URL as event notification endpoint of your Zoom app, and tick these events; \
             YOUR-HOST is the public https name that leads to {}",
            service.public_addr
        );
    }
    service.stopped().await?;
    info!("stopped");
    Ok(())
}
