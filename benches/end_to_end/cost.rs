//! What a process costs, as the kernel counts it.

use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What one case cost; `None` where it has no such cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// From the assignment of the partitions, or the first byte sent, to the last row.
    pub(crate) seconds: f64,
    /// CPU seconds of its own processes, all threads, start and end included.
    pub(crate) own: Option<f64>,
    /// CPU seconds of ClickHouse until the last row is acknowledged.
    pub(crate) server: Option<f64>,
    /// The same until its merges have come to rest.
    pub(crate) with_merges: Option<f64>,
    /// CPU seconds of Kafka.
    pub(crate) broker: Option<f64>,
    /// The most memory that its own processes had resident, in MiB.
    pub(crate) peak: Option<f64>,
}

impl Cost {
    /// CPU seconds of its own processes and of ClickHouse with its merges.
    pub(crate) fn in_all(&self) -> Option<f64> {
        self.with_merges.map(|server| self.own.unwrap_or_default() + server)
    }

    /// The median of each value by itself.
    pub(crate) fn median(costs: &[Cost]) -> Cost {
        let of = |value: fn(&Cost) -> Option<f64>| {
            let mut values: Vec<_> = costs.iter().filter_map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Cost {
            seconds: of(|c| Some(c.seconds)).expect("at least one run"),
            own: of(|c| c.own),
            server: of(|c| c.server),
            with_merges: of(|c| c.with_merges),
            broker: of(|c| c.broker),
            peak: of(|c| c.peak),
        }
    }

    /// With the CPU seconds per million records.
    pub(crate) fn per_million(self, millions: f64) -> Cost {
        let per = |seconds: Option<f64>| seconds.map(|seconds| seconds / millions);
        Cost {
            own: per(self.own),
            server: per(self.server),
            with_merges: per(self.with_merges),
            broker: per(self.broker),
            ..self
        }
    }
}

/// Commands that have ended well.
#[derive(Default)]
pub(crate) struct Ran {
    pub(crate) cpu: f64,
    pub(crate) peak: f64,
    pub(crate) stdout: String,
}

/// Runs commands beside each other to their ends; their sums. An error has what a command that failed said.
pub(crate) fn run(commands: &mut [Command]) -> Result<Ran, String> {
    let all: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = commands.iter_mut().map(|command| scope.spawn(|| run_one(command))).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut sum = Ran::default();
    for ran in all {
        let ran = ran?;
        sum.cpu += ran.cpu;
        sum.peak += ran.peak;
        sum.stdout += &ran.stdout;
    }
    Ok(sum)
}

fn run_one(command: &mut Command) -> Result<Ran, String> {
    let mut said = tempfile::tempfile().expect("a file");
    let stderr = said.try_clone().expect("a handle");
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn();
    let mut child = child.map_err(|error| format!("{program} does not start: {error}"))?;
    let mut peak = 0.0;
    // Until it is a zombie: its memory is gone then, its times are kept until it is reaped.
    while Stat::of(child.id()).state != "Z" {
        peak = peak_memory(child.id()).unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    let cpu = cpu_seconds(child.id());
    let status = child.wait().expect("a child");
    let mut stdout = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut stdout).expect("text");
    if !status.success() {
        let mut stderr = String::new();
        said.rewind().and_then(|()| said.read_to_string(&mut stderr)).expect("text");
        return Err(format!("{program} failed ({status}):\n{stderr}"));
    }
    Ok(Ran { cpu, peak, stdout })
}

/// CPU seconds that a process has used so far, in all its threads, for itself and in the kernel.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    /// Linux counts for user space in hundredths on every architecture.
    const TICKS_PER_SECOND: f64 = 100.0;
    Stat::of(pid).ticks / TICKS_PER_SECOND
}

struct Stat {
    state: String,
    ticks: f64,
}

impl Stat {
    fn of(pid: u32) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that is there");
        // The name stands in parentheses and may hold some itself.
        let (_, fields) = text.rsplit_once(") ").expect("a name in parentheses");
        let fields: Vec<_> = fields.split(' ').collect();
        let ticks = |field: usize| fields[field].parse::<f64>().expect("a number");
        Self { state: fields[0].to_owned(), ticks: ticks(11) + ticks(12) }
    }
}

/// In MiB; nothing when the process is ending.
fn peak_memory(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}
