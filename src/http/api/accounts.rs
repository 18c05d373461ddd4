//! The Zoom accounts of the configuration.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Desk;
use super::problem::Trouble;
use super::words::{Account, Listed};

/// Lists the Zoom accounts of the configuration.
#[utoipa::path(
    get,
    operation_id = "list_accounts",
    path = "/accounts",
    tag = "accounts",
    responses((status = 200, description = "All of them, on one page", body = Listed<Account>), Trouble)
)]
pub(super) async fn list(State(desk): State<Arc<Desk>>) -> Json<Listed<Account>> {
    Json(Listed { items: desk.known_accounts.clone(), next: None })
}
