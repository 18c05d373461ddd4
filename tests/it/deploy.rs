//! What lies in `deploy/` beside the manifests, which `scripts/check-deploy` checks: settings are settings. And that the
//! image can be built, as far as that takes no container: `scripts/prove-container` builds it.

use std::path::Path;
use std::process::Command;

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

#[test]
fn the_image_is_built_from_a_manifest_whose_targets_are_all_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let image = tempfile::tempdir().expect("a directory");
    for file in ["Cargo.toml", "Cargo.lock"] {
        std::fs::copy(root.join(file), image.path().join(file)).expect("it can be copied");
    }
    // What the Dockerfile does for a layer of dependencies, up to where it builds them.
    let dockerfile = include_str!("../../Dockerfile").replace("\\\n", " ");
    let layer = dockerfile.lines().find_map(|line| line.strip_prefix("RUN mkdir ")).expect("such a layer");
    let (stubs, _) = layer.split_once("&& cargo build --release --locked").expect("they are built");
    let made = Command::new("sh").arg("-c").arg(format!("mkdir {stubs}")).current_dir(image.path()).status();
    assert!(made.expect("sh runs").success(), "{stubs}");
    assert_only_the_compiler_is_missing(image.path());
    // And for the program: of its sources, what .dockerignore lets pass.
    std::fs::remove_dir_all(image.path().join("src")).expect("it is there");
    std::os::unix::fs::symlink(root.join("src"), image.path().join("src")).expect("it can be linked");
    assert_only_the_compiler_is_missing(image.path());
}

/// Cargo reads the manifest and looks for its targets before it asks the compiler, which is none here.
fn assert_only_the_compiler_is_missing(folder: &Path) {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "--offline", "--bin", "zoom-archiver"])
        .env("RUSTC", "false")
        .env_remove("RUSTC_WRAPPER")
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .current_dir(folder)
        .output()
        .expect("cargo runs");
    let told = String::from_utf8_lossy(&built.stderr);
    assert!(told.contains("`false"), "{told}");
}
