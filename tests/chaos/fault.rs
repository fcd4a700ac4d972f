//! What can happen to processes, brokers, databases and what is between them.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::Stage;
use super::place::Database;
use crate::support::send_signal;
use crate::topics;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// `kill -9`, at any time.
    Kill,
    /// Both at once.
    KillBoth,
    /// It ends by itself at a named place, as if killed there.
    At(&'static str),
    /// It stands still for longer than its session lasts, and wakes up.
    Freeze,
    /// It ends in order, and another comes.
    Leave,
    /// A third one comes, and ends in order.
    Join,
    /// The broker is killed and comes back.
    KillBroker,
    /// The broker stands still for some seconds.
    FreezeBroker,
    /// The database is killed and comes back.
    KillDatabase,
    /// The database stands still for some seconds.
    FreezeDatabase,
    /// All connections to the database are closed.
    CutConnections,
    /// Nothing comes through them any more, and nobody is told.
    MuteConnections,
    /// Each packet takes its time, for some seconds.
    SlowConnections,
    /// The database has no space, for some seconds.
    FullDisk,
    /// The table gets a column.
    AlterTable,
    /// The topic gets a partition.
    AddPartition,
}

impl Fault {
    /// As a table has it.
    pub(super) fn name(self) -> String {
        match self {
            Self::At(place) => format!("killed {place}"),
            other => format!("{other:?}").chars().fold(String::new(), |mut name, c| {
                if c.is_uppercase() && !name.is_empty() {
                    name.push(' ');
                }
                name.extend(c.to_lowercase());
                name
            }),
        }
    }

    /// What can happen with this database, each as often as it stands here.
    pub(super) fn of(database: Database) -> Vec<Fault> {
        let mut all = vec![
            Self::Kill,
            Self::Kill,
            Self::KillBoth,
            Self::At("sent"),
            Self::At("written"),
            Self::At("before the commit"),
            Self::Freeze,
            Self::Leave,
            Self::Join,
            Self::KillBroker,
            Self::FreezeBroker,
            Self::AlterTable,
            Self::AddPartition,
        ];
        if database != Database::Sqlite {
            all.extend([
                Self::KillDatabase,
                Self::FreezeDatabase,
                Self::CutConnections,
                Self::CutConnections,
                Self::MuteConnections,
                Self::SlowConnections,
            ]);
        }
        if database == Database::ClickHouse {
            all.extend([Self::At("claimed"), Self::At("in the body"), Self::FullDisk]);
        }
        all
    }

    pub(super) fn inject(self, stage: &mut Stage, random: &mut StdRng) {
        let which = random.random_range(0..stage.processes.len());
        let server = stage.place.server();
        match self {
            Self::Kill => stage.replace(which, None),
            Self::KillBoth => (0..stage.processes.len()).for_each(|which| stage.replace(which, None)),
            Self::At(place) => {
                let times = random.random_range(1..4);
                stage.replace(which, Some(&format!("{place}@{times}")));
                // It may have nothing to end at.
                stage.wait_for_end(which, Duration::from_secs(8));
                stage.replace(which, None);
            }
            Self::Freeze => {
                stage.processes[which].signal("STOP");
                std::thread::sleep(Duration::from_secs(8));
                stage.processes[which].signal("CONT");
            }
            Self::Leave => {
                stage.processes[which].signal("TERM");
                stage.wait_for_end(which, Duration::from_secs(10));
                stage.replace(which, None);
            }
            Self::Join => {
                let third = stage.start(2, None);
                std::thread::sleep(Duration::from_millis(random.random_range(500..4_000)));
                third.signal("TERM");
                let output = third.wait(super::PATIENCE);
                assert_eq!(output.code(), 0, "{output:#?}");
            }
            Self::KillBroker => kill(&stage.kafka.server, random),
            Self::FreezeBroker => freeze(&stage.kafka.server, random),
            Self::KillDatabase => kill(server.expect("a server"), random),
            Self::FreezeDatabase => freeze(server.expect("a server"), random),
            Self::CutConnections => stage.place.front().cut(),
            Self::MuteConnections => stage.place.front().mute(),
            Self::SlowConnections => {
                stage.place.front().slow(true);
                std::thread::sleep(Duration::from_millis(random.random_range(1_000..4_000)));
                stage.place.front().slow(false);
            }
            Self::FullDisk => {
                let name = "min_free_disk_bytes_to_perform_insert";
                stage.for_each_table(&format!("MODIFY SETTING {name} = 1000000000000000000"));
                std::thread::sleep(Duration::from_millis(random.random_range(1_000..4_000)));
                stage.for_each_table(&format!("RESET SETTING {name}"));
            }
            Self::AlterTable => {
                let column = random.random_range(0..1_000_000);
                stage.for_each_table(&format!("ADD COLUMN c{column} {}", stage.place.integer()));
            }
            Self::AddPartition => {
                let source = stage.source.as_ref().expect("it is not over");
                let partitions = source.partitions() + 1;
                topics::add_partitions(&stage.kafka, &stage.name, usize::try_from(partitions).expect("small"));
                source.fill(partitions);
            }
        }
    }
}

fn kill(server: &rowfall_services::Server, random: &mut StdRng) {
    server.kill9().expect("killed");
    std::thread::sleep(Duration::from_millis(random.random_range(0..3_000)));
    server.start().expect("started again");
}

fn freeze(server: &rowfall_services::Server, random: &mut StdRng) {
    let pid = server.pid().expect("it runs");
    send_signal(pid, "STOP");
    std::thread::sleep(Duration::from_millis(random.random_range(1_000..8_000)));
    send_signal(pid, "CONT");
}
