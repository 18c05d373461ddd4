//! What the fake Zoom's API accepts, and nothing else. Made up, and of no use anywhere.

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
