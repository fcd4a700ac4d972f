//! A consumer written by hand in Python, `consumer.py`, in one process or as several of a group.

use std::process::Command;

use crate::cost;
use crate::stage::{Done, Stage};

use super::Peer;

pub(super) struct Python {
    pub(super) processes: usize,
}

impl Peer for Python {
    fn name(&self) -> String {
        match self.processes {
            1 => "Python consumer".to_owned(),
            more => format!("Python consumer, {more} processes"),
        }
    }

    fn fill(&self, stage: &Stage<'_>, table: &str) -> Result<Done, String> {
        let clients = rowfall_services::python_clients().map_err(|error| error.to_string())?;
        let consumer = || {
            let mut command = Command::new("python3");
            // What the user has installed must not be taken for it.
            command.args(["-B", "-s", "-c", include_str!("consumer.py")]).env("PYTHONPATH", &clients);
            command.args([&stage.kafka.brokers, &stage.topic.name, table]);
            let server = stage.clickhouse;
            command.args([&server.http_port.to_string(), server.user, server.password]);
            command
        };
        let mut commands: Vec<_> = (0..self.processes).map(|_| consumer()).collect();
        let ran = cost::run(&mut commands)?;
        // Each says when it was assigned partitions and when it had committed its last row, on the machine's one clock.
        let moments = ran.stdout.split_whitespace().map(|moment| moment.parse::<f64>().expect("a number"));
        let (first, last) = moments.fold((f64::INFINITY, 0.0_f64), |(a, b), moment| (a.min(moment), b.max(moment)));
        Ok(Done { seconds: last - first, own: Some(ran) })
    }
}
