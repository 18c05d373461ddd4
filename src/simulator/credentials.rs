//! What the fake Zoom's API accepts, and nothing else. Made up, and of no use anywhere.

/// An account at the fake Zoom.
#[derive(Debug, PartialEq, Eq)]
pub struct FakeAccount {
    /// Zoom's id of it.
    pub account_id: &'static str,
    /// API key of its Video SDK app.
    pub api_key: &'static str,
    /// API secret that belongs to it.
    pub api_secret: &'static str,
    /// Client id of its Server-to-Server OAuth app.
    pub client_id: &'static str,
    /// Client secret that belongs to it.
    pub client_secret: &'static str,
}

/// API key of the Video SDK account.
pub const API_KEY: &str = "fakeVideoSdkApiKey0wNr1";
/// API secret that belongs to it.
pub const API_SECRET: &str = "fake-video-sdk-api-secret-a1b2c3d4";
/// The account: every fake recording's, unless it says otherwise.
pub const ACCOUNT_ID: &str = "Fk3ZoomAccountId0wNr1Q";
/// Client id of the Server-to-Server OAuth app.
pub const CLIENT_ID: &str = "fakeOAuthClientId0wNr1";
/// Client secret that belongs to it.
pub const CLIENT_SECRET: &str = "fake-oauth-client-secret-e5f6a7b8";

/// Whose everything is that does not belong to another account.
pub static FIRST: FakeAccount = FakeAccount {
    account_id: ACCOUNT_ID,
    api_key: API_KEY,
    api_secret: API_SECRET,
    client_id: CLIENT_ID,
    client_secret: CLIENT_SECRET,
};

/// Another account, which sees its own recordings only.
pub static SECOND: FakeAccount = FakeAccount {
    account_id: "Fk3ZoomAccountId0wNr2Q",
    api_key: "fakeVideoSdkApiKey0wNr2",
    api_secret: "fake-video-sdk-api-secret-b2c3d4e5",
    client_id: "fakeOAuthClientId0wNr2",
    client_secret: "fake-oauth-client-secret-f6a7b8c9",
};

/// The account that something of `account_id` belongs to.
pub(super) fn owner(account_id: &str) -> &'static FakeAccount {
    if account_id == SECOND.account_id { &SECOND } else { &FIRST }
}

/// The account for which `holds`.
pub(super) fn find(holds: impl Fn(&FakeAccount) -> bool) -> Option<&'static FakeAccount> {
    [&FIRST, &SECOND].into_iter().find(|account| holds(account))
}
