//! What a running `rowfall` occupies and says, with the time of each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::Process;

#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Seen>);

#[derive(Default)]
struct Seen {
    ended: AtomicBool,
    memory: Mutex<Vec<(Instant, u64)>>,
    lines: Mutex<Vec<(Instant, String)>>,
}

impl Watch {
    pub(crate) fn start(process: &Process) -> Self {
        let watch = Self::default();
        let (pid, said) = process.watched();
        let seen = Arc::clone(&watch.0);
        std::thread::spawn(move || {
            let mut read = 0;
            while !seen.ended.load(Ordering::Relaxed) {
                let now = Instant::now();
                if let Some(resident) = resident(pid) {
                    seen.memory.lock().expect("no panic while held").push((now, resident));
                }
                let said = said.lock().expect("no panic while held");
                while let Some(length) = said[read..].iter().position(|byte| *byte == b'\n') {
                    let line = String::from_utf8_lossy(&said[read..read + length]).into_owned();
                    read += length + 1;
                    seen.lines.lock().expect("no panic while held").push((now, line));
                }
                drop(said);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        watch
    }

    pub(crate) fn end(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }

    /// The lines that were said from then on.
    pub(crate) fn lines_since(&self, since: Instant) -> Vec<String> {
        let lines = self.0.lines.lock().expect("no panic while held");
        lines.iter().filter(|(at, _)| *at >= since).map(|(_, line)| line.clone()).collect()
    }

    /// The most memory in each minute since then, in MiB.
    pub(crate) fn curve(&self, since: Instant) -> Vec<u64> {
        let mut curve: Vec<u64> = Vec::new();
        for (at, kilobytes) in self.0.memory.lock().expect("no panic while held").iter().filter(|(at, _)| *at >= since)
        {
            let minute = usize::try_from((*at - since).as_secs() / 60).expect("small");
            curve.resize(curve.len().max(minute + 1), 0);
            curve[minute] = curve[minute].max(kilobytes / 1024);
        }
        curve
    }

    /// By how many MiB the memory has risen since then, along the straight line that fits it best.
    pub(crate) fn rise(&self, since: Instant) -> f64 {
        let memory = self.0.memory.lock().expect("no panic while held");
        let megabytes = |kilobytes: u64| f64::from(u32::try_from(kilobytes).expect("less than 4 TiB")) / 1024.0;
        let points: Vec<(f64, f64)> = memory
            .iter()
            .filter(|(at, _)| *at >= since)
            .map(|(at, kilobytes)| ((*at - since).as_secs_f64(), megabytes(*kilobytes)))
            .collect();
        let Some((span, _)) = points.last() else { return 0.0 };
        let count = f64::from(u32::try_from(points.len()).expect("few"));
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), (at, megabytes)| {
            (above + (at - x) * (megabytes - y), below + (at - x) * (at - x))
        });
        if below > 0.0 { above / below * span } else { 0.0 }
    }
}

/// In KiB; nothing when the process has ended.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
