//! The command line: arguments, exit status, signals, logs, progress.
//!
//! Exit status: 0 done; 1 stopped by a failure, said on stderr; 2 usage or configuration, nothing was touched; 3 from
//! `plan` and `check`: something has to be done first.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::config::{self, Delivery, Overrides, Settings};
use crate::offsets::{self, Verdict};
use crate::pipeline::{self, Progress, RunOptions, Summary};
use crate::preview;
use crate::problem::Problem;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const TO_DO: u8 = 3;

/// Kafka topics into database tables.
#[derive(Parser)]
#[command(name = "rowfall", version, about, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How log lines are written to stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Human)]
    log: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    /// Move records until told to stop
    Run {
        #[command(flatten)]
        config: ConfigArguments,
        /// Stop at the end offsets that the partitions have at the start
        #[arg(long)]
        until_end: bool,
        /// How the summary is written to stdout
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// See whether brokers, server, topics, tables and rights are as a run needs them; touch nothing
    Check {
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Show the tables that a run would create and the mapping of each field; touch nothing
    Plan {
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Show how far each partition has come and what was begun; or end what was begun, once you know what became of it
    Offsets {
        #[command(flatten)]
        config: ConfigArguments,
        /// Its rows are in their tables: go on behind it
        #[arg(long, value_name = "BEGUN", value_parser = hexadecimal, conflicts_with = "write_again")]
        written: Option<u64>,
        /// Its rows are not there: have the next run write them
        #[arg(long, value_name = "BEGUN", value_parser = hexadecimal)]
        write_again: Option<u64>,
    },
    /// See it work without anything installed: an in-process broker, generated orders, a SQLite table
    Demo {
        /// Orders to generate
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(crate::demo::MOST_RECORDS)))]
        records: u32,
    },
    /// Print the JSON Schema of the configuration file, for editors
    Schema {
        /// Print the reference page instead, as docs/configuration.md
        #[arg(long)]
        reference: bool,
    },
}

#[derive(Args)]
struct ConfigArguments {
    /// The configuration file; rowfall.yaml where neither this nor --brokers, --topic, --to is given
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override a setting: --set batch.rows=1000 --set topics.orders.table=o
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Kafka's bootstrap servers, host:port[,host:port]…
    #[arg(long, value_name = "SERVERS")]
    brokers: Option<String>,
    /// A topic, into the table of its name; may be repeated
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// The target: clickhouse://user:password@host:8123/database, postgres://user:password@host/database, sqlite://file.db
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The consumer group
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    crate::allocator::share_heaps();
    let arguments = Arguments::parse();
    let line = StatusLine::default();
    // The demo tells its story on stdout; log lines would stand in between.
    let quiet = matches!(arguments.command, Command::Demo { .. });
    // What Kafka's client has to say comes by its callbacks.
    log_to_stderr(arguments.log, if quiet { "warn,rdkafka=off" } else { "warn,rowfall=info,rdkafka=off" }, &line);
    let result = match arguments.command {
        Command::Run { config, until_end, output } => with_settings(&config, |s| run(s, until_end, output, &line)),
        Command::Check { config } => with_settings(&config, check),
        Command::Plan { config } => with_settings(&config, plan),
        Command::Offsets { config, written, write_again } => with_settings(&config, |settings| {
            let verdict = written.map(|claim| (claim, Verdict::Written));
            let text = match verdict.or(write_again.map(|claim| (claim, Verdict::Missing))) {
                Some((claim, verdict)) => offsets::end(settings, claim, verdict)?,
                None => offsets::show(settings)?,
            };
            print!("{text}");
            Ok(ExitCode::SUCCESS)
        }),
        Command::Demo { records } => crate::demo::run(records, |text| println!("{text}")).map(|()| ExitCode::SUCCESS),
        Command::Schema { reference } => {
            print!("{}", if reference { config::reference_markdown() } else { config::json_schema() });
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|problem| {
        eprintln!("rowfall: {problem}");
        ExitCode::from(FAILED)
    })
}

fn hexadecimal(text: &str) -> Result<u64, std::num::ParseIntError> {
    u64::from_str_radix(text, 16)
}

type Outcome = Result<ExitCode, Problem>;

fn with_settings(arguments: &ConfigArguments, act: impl FnOnce(&Settings) -> Outcome) -> Outcome {
    let overrides = Overrides {
        file: arguments.config.clone(),
        set: arguments.set.clone(),
        brokers: arguments.brokers.clone(),
        topics: arguments.topics.clone(),
        to: arguments.to.clone(),
        name: arguments.name.clone(),
    };
    match config::load(&overrides) {
        Ok(settings) => act(&settings),
        Err(error) => {
            eprintln!("{:?}", miette::Report::new(error));
            Ok(ExitCode::from(USAGE))
        }
    }
}

fn check(settings: &Settings) -> Outcome {
    pipeline::runtime()?.block_on(async {
        let (connection, server) = pipeline::connect(settings).await?;
        show(&preview::check(settings, &connection, &server).await?)
    })
}

fn plan(settings: &Settings) -> Outcome {
    pipeline::runtime()?.block_on(async {
        let (connection, _) = pipeline::connect(settings).await?;
        show(&preview::plan(settings, &connection).await?)
    })
}

fn show(preview: &preview::Preview) -> Outcome {
    print!("{}", preview.text);
    Ok(if preview.to_do { ExitCode::from(TO_DO) } else { ExitCode::SUCCESS })
}

fn run(settings: &Settings, until_end: bool, output: Output, line: &StatusLine) -> Outcome {
    let options = RunOptions { until_end, ..RunOptions::default() };
    listen_to_signals(&options)?;
    let runtime = pipeline::runtime()?;
    let Some((connection, server)) = runtime.block_on(pipeline::connect_in_time(settings, &options.stop))? else {
        return summarize(&Summary::default(), Delivery::AtLeastOnce, output);
    };
    tracing::info!("{server} at {}", settings.target);
    let delivery = pipeline::delivery(settings, &connection)?;
    let Some(preparation) = runtime.block_on(pipeline::prepare_in_time(settings, &connection, &options.stop))? else {
        runtime.shutdown_background();
        return summarize(&Summary::default(), delivery, output);
    };
    let showing = line.show(&options.progress);
    let result = pipeline::run(settings, &connection, preparation, &options, runtime.handle());
    drop(showing);
    // Writes that were given up must not hold the process.
    runtime.shutdown_background();
    summarize(&result?, delivery, output)
}

fn summarize(summary: &Summary, delivery: Delivery, output: Output) -> Outcome {
    let seconds = summary.elapsed.as_secs_f64();
    match output {
        Output::Json => {
            let stopped: Vec<_> =
                summary.stopped.iter().map(|p| serde_json::json!({"what": p.what, "hint": p.hint})).collect();
            let summary = serde_json::json!({
                "records": summary.records,
                "rows": summary.rows,
                "dead_letters": 0,
                "seconds": (seconds * 1_000.0).round() / 1_000.0,
                "stopped": stopped,
            });
            println!("{summary}");
        }
        Output::Text => println!("{} rows in {seconds:.1} s", HumanCount(summary.rows)),
    }
    if summary.unwritten {
        let again = "rowfall: the target did not take the last rows in time; their offsets are not committed, the next run reads them again";
        match delivery {
            Delivery::ExactlyOnce => eprintln!("{again}"),
            Delivery::AtLeastOnce => eprintln!("{again}, and what the target finishes by itself is then there twice"),
        }
    }
    if summary.stopped.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for problem in &summary.stopped {
        eprintln!("rowfall: stopped: {problem}");
    }
    Ok(ExitCode::from(FAILED))
}

/// The first SIGTERM or SIGINT ends the run in order, the second at once.
fn listen_to_signals(options: &RunOptions) -> Result<(), Problem> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&options.stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&options.stop)))
            .map_err(|e| Problem::new(format!("cannot listen to signals: {e}"), ""))?;
    }
    Ok(())
}

/// The progress line at the bottom of a terminal; log lines go above it.
#[derive(Clone, Default)]
struct StatusLine(Arc<Mutex<Option<ProgressBar>>>);

/// Shows progress until it is dropped.
struct Showing {
    line: StatusLine,
    thread: Option<(std::sync::mpsc::Sender<()>, std::thread::JoinHandle<()>)>,
}

impl StatusLine {
    fn show(&self, progress: &Arc<Progress>) -> Showing {
        if !std::io::stderr().is_terminal() {
            return Showing { line: self.clone(), thread: None };
        }
        let bar =
            ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}").expect("a template"));
        *self.0.lock().expect("no panic while held") = Some(bar.clone());
        let (ended, end) = std::sync::mpsc::channel::<()>();
        let progress = Arc::clone(progress);
        let thread = std::thread::spawn(move || {
            let (mut before, mut at) = (0, Instant::now());
            let mut rate = 0.0;
            while end.recv_timeout(Duration::from_millis(500)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let rows = progress.rows.load(Ordering::Relaxed);
                let lag = progress.lag.load(Ordering::Relaxed);
                #[expect(clippy::cast_precision_loss, reason = "for a person's eyes")]
                {
                    let now = (rows - before) as f64 / at.elapsed().as_secs_f64();
                    // Rows come a batch at a time: smoothed over a few seconds.
                    rate = rate * 0.7 + now * 0.3;
                    let eta = if rate > 1.0 { format!(", {:.0} s to go", lag as f64 / rate) } else { String::new() };
                    let partitions = progress.partitions.load(Ordering::Relaxed);
                    let speed = if rate < 10_000.0 { format!("{rate:.0}") } else { format!("{:.0} k", rate / 1_000.0) };
                    bar.set_message(format!(
                        "{} rows, {speed} rows/s, {} behind{eta}, {partitions} partitions",
                        HumanCount(rows),
                        HumanCount(lag)
                    ));
                }
                bar.tick();
                (before, at) = (rows, Instant::now());
            }
            bar.finish_and_clear();
        });
        Showing { line: self.clone(), thread: Some((ended, thread)) }
    }
}

impl Drop for Showing {
    fn drop(&mut self) {
        if let Some((ended, thread)) = self.thread.take() {
            drop(ended);
            let _ = thread.join();
        }
        *self.line.0.lock().expect("no panic while held") = None;
    }
}

fn log_to_stderr(format: LogFormat, filter: &str, line: &StatusLine) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("ROWFALL_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    let line = line.clone();
    let writer = move || LogWriter(line.clone());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Human => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

struct LogWriter(StatusLine);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let write = || std::io::stderr().write_all(bytes).map(|()| bytes.len());
        match &*self.0.0.lock().expect("no panic while held") {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
