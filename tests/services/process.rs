//! A process that outlives the command which started it, and is never confused with another one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde::{Deserialize, Serialize};

/// A process id together with the moment the process began: pids are used again, the pair is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks since boot, as the kernel gives them.
    pub(crate) began: u64,
}

impl Process {
    /// The process that has this pid now; none if there is none or if it is dead and merely unreaped.
    pub(crate) fn of(pid: u32) -> Option<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let stat = Stat::parse(&stat)?;
        // The first thread may be a zombie while others still hold ports and files.
        let is_dead = matches!(stat.state, 'Z' | 'X') && stat.threads <= 1;
        (!is_dead).then_some(Process { pid, began: stat.began })
    }

    pub(crate) fn is_alive(self) -> bool {
        Process::of(self.pid) == Some(self)
    }

    /// Resident memory in MB.
    pub(crate) fn memory(self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes / 1024)
    }

    /// Asks it to end and waits; kills it if it takes longer than `patience`.
    pub(crate) fn stop(self, signal: Signal, patience: Duration) -> io::Result<()> {
        self.signal(signal)?;
        if self.is_gone_within(patience) {
            return Ok(());
        }
        self.kill()
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(self) -> io::Result<()> {
        self.signal(Signal::KILL)?;
        if self.is_gone_within(Duration::from_secs(10)) {
            return Ok(());
        }
        Err(io::Error::other(format!("process {} survives kill -9", self.pid)))
    }

    fn signal(self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        match pid {
            Some(pid) if self.is_alive() => match kill_process(pid, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(errno) => Err(errno.into()),
            },
            _ => Ok(()),
        }
    }

    fn is_gone_within(self, patience: Duration) -> bool {
        let began = Instant::now();
        while self.is_alive() {
            if began.elapsed() > patience {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

/// What is used of `/proc/PID/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    state: char,
    threads: u64,
    began: u64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Stat> {
        // The program's name comes before and may hold spaces and parentheses.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let threads = fields.nth(16)?.parse().ok()?;
        let began = fields.nth(1)?.parse().ok()?;
        Some(Stat { state, threads, began })
    }
}

/// Starts `command` in a session of its own, so that neither the end of this process nor Ctrl-C in its terminal
/// reaches it. Its output is appended to `log`.
pub(crate) fn spawn(command: &Command, log: &Path) -> io::Result<Process> {
    let output = OpenOptions::new().create(true).append(true).open(log)?;
    let mut detached = in_own_session(command);
    let mut child = detached.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()?;
    let process = Process::of(child.id());
    // Reaped as soon as it ends: otherwise it would stay a zombie for as long as this process lives.
    thread::spawn(move || child.wait());
    process.ok_or_else(|| io::Error::other("it ended at once"))
}

/// `setsid` replaces itself by the program, so the pid of the child is the server's.
fn in_own_session(command: &Command) -> Command {
    let mut detached = Command::new("setsid");
    detached.arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => detached.env(key, value),
            None => detached.env_remove(key),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        detached.current_dir(dir);
    }
    // What cargo sets for the programs that it runs is not meant for servers.
    detached.env_remove("LD_LIBRARY_PATH");
    detached
}

/// Kills a process when this one ends, however it ends: a test that aborts or is killed runs no destructor.
#[derive(Debug)]
pub(crate) struct Leash {
    shell: Child,
}

impl Leash {
    pub(crate) fn tie(process: Process) -> io::Result<Leash> {
        // The shell's input is a pipe that only this process holds; it reads to the end, which is our end.
        const SCRIPT: &str = r#"cat >/dev/null
            [ "$(cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null)" = "$2" ] && kill -KILL "$1""#;
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "leash"])
            .arg(process.pid.to_string())
            .arg(process.began.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Leash { shell })
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It cannot fail in a way that matters here: the shell ends at the end of its input.
        let _ = self.shell.wait();
    }
}

/// The last `lines` lines of a file, for an error message.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let text = File::open(file).and_then(io::read_to_string).unwrap_or_else(|error| error.to_string());
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "77 (a ) b (c) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 9 0 12345 2 3";
        let expected = Stat { state: 'S', threads: 9, began: 12_345 };
        assert_eq!(Stat::parse(stat), Some(expected));
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        let stranger = Process { began: me.began + 1, ..me };
        assert!(!stranger.is_alive());
        stranger.kill().unwrap();
        assert!(me.is_alive());
    }

    #[test]
    fn a_process_is_started_stopped_and_killed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut sleep = Command::new("sleep");
        sleep.arg("100");
        let process = spawn(&sleep, &log).unwrap();
        assert!(process.is_alive());
        process.stop(Signal::TERM, Duration::from_secs(5)).unwrap();
        assert!(!process.is_alive());

        let mut stubborn = Command::new("sh");
        stubborn.args(["-c", "trap '' TERM; echo up; while :; do sleep 1; done"]);
        let process = spawn(&stubborn, &log).unwrap();
        while !tail(&log, 1).contains("up") {
            thread::sleep(Duration::from_millis(10));
        }
        process.stop(Signal::TERM, Duration::from_millis(200)).unwrap();
        assert!(!process.is_alive());
    }

    #[test]
    fn the_leash_ends_the_process_when_its_holder_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut sleep = Command::new("sleep");
        sleep.arg("100");
        let process = spawn(&sleep, &dir.path().join("log")).unwrap();
        drop(Leash::tie(process).unwrap());
        assert!(process.is_gone_within(Duration::from_secs(5)));
    }
}
