//! What lies in `deploy/` beside the manifests, which `scripts/check-deploy` checks: settings are settings.

use std::path::Path;

use zoom_archiver::config::load::{Environment, load};

#[test]
fn the_settings_that_are_deployed_are_settings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes");
    for part in ["base", "example"] {
        let config = load(Some(&root.join(part).join("settings.toml")), &Environment::new());
        let config = config.unwrap_or_else(|error| panic!("{part}: {error}"));
        assert!(!config.http.admin_listen.ip().is_loopback(), "{part}: Prometheus must reach it");
    }
}
