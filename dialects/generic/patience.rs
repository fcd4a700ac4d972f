//! How long an answer is waited for: a server that was cut off says nothing, not even that.

use std::io;
use std::time::Duration;

/// What a server may take for one step of ours: to let somebody in, to take so many bytes, to run one statement.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it may take where it has nothing to do.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Waits for the answer to one step, but not for ever.
///
/// # Errors
/// Those of the step, and [`sqlx::Error::Io`] with [`io::ErrorKind::TimedOut`].
pub(crate) async fn answered<T>(step: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    within(PATIENCE, step).await
}

/// The same for a step that costs the server nothing.
///
/// # Errors
/// As [`answered`].
pub(crate) async fn answered_at_once<T>(step: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    within(AT_ONCE, step).await
}

async fn within<T>(patience: Duration, step: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(patience, step).await.unwrap_or_else(|_| {
        let why = format!("no answer within {} s", patience.as_secs());
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why)))
    })
}
