//! The target, before anything is moved: whether it answers, and what it can promise.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rowfall_dialects::contract::{Advice, Connection};

use crate::config::{Delivery, Settings};
use crate::problem::Problem;

/// Between two attempts to reach a server that does not answer at the start.
const CONNECT_EVERY: Duration = Duration::from_secs(1);
/// How often such a wait is logged.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Connects to the target and sees that it answers.
///
/// # Errors
/// When it does not, or does not let us in.
pub async fn connect(settings: &Settings) -> Result<(Connection, String), Problem> {
    let doing = format!("target {}", settings.target);
    let connection = rowfall_dialects::connect(&settings.target).await.map_err(|e| Problem::from(e).within(&doing))?;
    let server = connection.session.server().await.map_err(|e| Problem::from(e).within(&doing))?;
    Ok((connection, server))
}

/// As [`connect`], and waits as long as the settings say for a server that does not answer yet; `None` when told to stop
/// meanwhile.
///
/// # Errors
/// When it does not answer in that time, or not as it should.
pub async fn connect_in_time(settings: &Settings, stop: &AtomicBool) -> Result<Option<(Connection, String)>, Problem> {
    let doing = format!("target {}", settings.target);
    let connection = rowfall_dialects::connect(&settings.target).await.map_err(|e| Problem::from(e).within(&doing))?;
    let began = Instant::now();
    let mut said: Option<Instant> = None;
    loop {
        let server = tokio::select! {
            server = connection.session.server() => server,
            () = told(stop) => return Ok(None),
        };
        match server {
            Ok(server) => return Ok(Some((connection, server))),
            Err(error) if error.advice == Advice::Retry && began.elapsed() < settings.wait => {
                if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                    said = Some(Instant::now());
                    let left = (settings.wait - began.elapsed()).as_secs_f64().ceil();
                    let problem = Problem::from(error).within(&doing);
                    tracing::warn!("waiting up to {left:.0} s for the target to answer (`target.wait`): {problem}");
                }
            }
            Err(error) => return Err(Problem::from(error).within(&doing)),
        }
        let pause = CONNECT_EVERY.min(settings.wait.saturating_sub(began.elapsed()));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = told(stop) => return Ok(None),
        }
    }
}

/// What is promised of records: what the settings ask for, else the best that the database can.
///
/// # Errors
/// When the database cannot keep the promise that is asked for.
pub fn delivery(settings: &Settings, connection: &Connection) -> Result<Delivery, Problem> {
    match (settings.delivery, connection.exactly_once) {
        (Some(Delivery::ExactlyOnce), None) => {
            let what = format!("{} cannot keep `delivery: exactly-once`", connection.grammar.name());
            Err(Problem::new(what, "leave `delivery` out, or say `at-least-once`"))
        }
        (Some(asked), _) => Ok(asked),
        (None, Some(_)) => Ok(Delivery::ExactlyOnce),
        (None, None) => Ok(Delivery::AtLeastOnce),
    }
}

/// Waits until it is set.
pub(super) async fn told(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
