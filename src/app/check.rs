//! What `serve` refuses before it opens anything: the one check, which `config check` makes, too.

use secrecy::ExposeSecret;

use super::{Role, StartError};
use crate::clock::Clock;
use crate::config::secrets::ZoomAccount;
use crate::config::{Config, Secrets};
use crate::domain::key::KeyTemplate;
use crate::notify::Notifier;
use crate::zoom::accounts::Accounts;
use crate::zoom::download::Downloader;
use crate::{archive, store};

/// Finds everything about settings and secrets that keeps a service of these roles from starting, without a look at database,
/// archive or Zoom.
#[must_use]
pub fn problems(config: &Config, secrets: &Secrets, roles: &[Role]) -> Vec<StartError> {
    let checks = [
        secret_tokens(&secrets.zoom_accounts(), roles),
        private_listener(config, secrets),
        store::check_url(&secrets.database_url).map_err(StartError::from),
        archive::check(secrets.archive_url.expose_secret(), &config.archive)
            .map(drop)
            .map_err(StartError::from),
        Downloader::new(&config.zoom, &config.transfer, Clock::System).map(drop).map_err(StartError::from),
        Accounts::new(&config.zoom, secrets.zoom_accounts(), Clock::System)
            .map(drop)
            .map_err(StartError::from),
        KeyTemplate::parse(&config.archive.key_template).map(drop).map_err(StartError::from),
        Notifier::new(&config.notify, secrets.targets.clone(), Clock::System)
            .map(drop)
            .map_err(StartError::Notifier),
    ];
    checks.into_iter().filter_map(Result::err).collect()
}

fn secret_tokens(accounts: &[ZoomAccount], roles: &[Role]) -> Result<(), StartError> {
    let is_missing = accounts.iter().all(|account| account.webhook_secret_tokens.is_empty());
    if roles.contains(&Role::Receiver) && is_missing {
        return Err(StartError::NoSecretToken);
    }
    Ok(())
}

fn private_listener(config: &Config, secrets: &Secrets) -> Result<(), StartError> {
    let address = config.http.admin_listen;
    if secrets.admin_token.is_none() && !address.ip().is_loopback() {
        return Err(StartError::OpenPrivateDoor(address));
    }
    Ok(())
}
