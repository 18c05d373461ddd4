//! Sends a request with all that is wanted of the store, and again with less where the store rejects an option
//! that can be left out. What it took in the end is remembered for the requests to come.

use std::time::Duration;

use super::super::ArchiveError;
use super::S3Archive;
use super::ability::Asked;
use super::failure::Failure;

/// Times that a write is sent again while another one under the same key is under way.
const CONFLICT_RETRIES: u32 = 4;
/// Rest before the first of them; doubled each time.
const CONFLICT_REST: Duration = Duration::from_millis(200);

impl S3Archive {
    /// Sends a request until the store takes it; returns its answer, and what it was asked with that.
    pub(super) async fn negotiate<T, F>(
        &self,
        what: &str,
        key: &str,
        first: Asked,
        send: impl Fn(Asked) -> F,
    ) -> Result<(T, Asked), ArchiveError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.send_until_taken(what, key, first, false, send).await
    }

    /// The same for a request that makes an object appear: where it cannot carry the condition that there is
    /// none, we look before it is sent, and another write under the same key is waited out.
    pub(super) async fn create<T, F>(
        &self,
        what: &str,
        key: &str,
        first: Asked,
        send: impl Fn(Asked) -> F,
    ) -> Result<(T, Asked), ArchiveError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.send_until_taken(what, key, first, true, send).await
    }

    async fn send_until_taken<T, F>(
        &self,
        what: &str,
        key: &str,
        first: Asked,
        creates: bool,
        send: impl Fn(Asked) -> F,
    ) -> Result<(T, Asked), ArchiveError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let (mut asked, mut conflicts) = (first, 0);
        loop {
            if creates && !asked.condition {
                self.require_absent(key).await?;
            }
            match send(asked).await {
                Ok(answer) => {
                    self.abilities.remember(first, asked);
                    return Ok((answer, asked));
                }
                Err(failure) if creates && failure.is_conflict() && conflicts < CONFLICT_RETRIES => {
                    tokio::time::sleep(CONFLICT_REST * 2u32.pow(conflicts)).await;
                    conflicts += 1;
                }
                // The options are not negotiable.
                Err(failure) if self.options.rejected(&failure).is_some() => {
                    return Err(self.decide(what, key, &failure));
                }
                Err(failure) => match self.abilities.less(asked, &failure) {
                    Some(less) => asked = less,
                    None => return Err(self.decide(what, key, &failure)),
                },
            }
        }
    }
}
