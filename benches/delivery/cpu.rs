//! One CPU for all, and the time on it that each rival uses.

use std::{fs, process::Command, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// What the kernel counts in when it counts in ticks: 100 a second for user space on every architecture that Rust
/// and inotify-tools are packaged for.
const TICK: Duration = Duration::from_millis(10);

/// Pins this process, and so each thread and child that it will start, to one CPU; returns its number.
///
/// With more, the figures would depend on where the scheduler happens to wake the receiver. The last CPU is taken,
/// for the first serves most interrupts.
pub(crate) fn pin_to_one() -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .ok_or("/proc/self/status has no Cpus_allowed_list")?;
    // A list such as `0-2,4-7`: whatever its shape, the last number is the last CPU.
    let last = allowed.trim().rsplit(['-', ',']).next().unwrap_or("0").to_owned();

    let output = Command::new("taskset")
        .args(["--cpu-list", "--pid", &last, &std::process::id().to_string()])
        .output()
        .map_err(|error| format!("cannot run taskset: {error}\nhint: apt-get install util-linux"))?;
    if !output.status.success() {
        return Err(format!("taskset: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(last)
}

/// A process and all that it has started.
#[derive(Clone, Copy)]
pub(crate) struct Tree {
    root: Pid,
}

impl Tree {
    pub(crate) fn new(root: Pid) -> Self {
        Self { root }
    }

    /// The time on the CPU of all threads of all processes of the tree, and of those that have ended and been
    /// waited for: the programs that a shell loop starts live far too short to be caught alive.
    pub(crate) fn cpu_time(self) -> Result<Duration> {
        let (root, others) = (self.root.as_raw_pid(), self.pids()?);
        let mut sum = cpu_time_of(root)?;
        for pid in others.into_iter().filter(|&pid| pid != root) {
            // One that cannot be read has just ended, and counts with its parent the next time.
            sum += cpu_time_of(pid).unwrap_or_default();
        }
        Ok(sum)
    }

    /// Asks every process of the tree to end. A shell that is killed alone would leave its pipeline behind.
    pub(crate) fn signal(self, signal: Signal) -> Result<()> {
        for pid in self.pids()? {
            if let Some(pid) = Pid::from_raw(pid) {
                // One that has ended in the meantime needs no signal.
                let _ = kill_process(pid, signal);
            }
        }
        Ok(())
    }

    /// The root and all that descend from it.
    fn pids(self) -> Result<Vec<i32>> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")? {
            if let Ok(pid) = entry?.file_name().to_string_lossy().parse()
                && let Some(stat) = Stat::read(pid)
            {
                parents.push((pid, stat.parent));
            }
        }
        let mut pids = vec![self.root.as_raw_pid()];
        let mut done = 0;
        while let Some(&parent) = pids.get(done) {
            pids.extend(parents.iter().filter(|process| process.1 == parent).map(|process| process.0));
            done += 1;
        }
        Ok(pids)
    }
}

fn cpu_time_of(pid: i32) -> Result<Duration> {
    let stat = Stat::read(pid).ok_or_else(|| format!("there is no process {pid}"))?;
    let mut sum = TICK * stat.ticks_of_ended_children;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // To the nanosecond, where stat has ticks of 10 ms for the threads.
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = schedstat.split(' ').next().unwrap_or_default();
        sum += Duration::from_nanos(on_cpu.parse()?);
    }
    Ok(sum)
}

/// What `/proc/PID/stat` says, see proc_pid_stat(5).
struct Stat {
    parent: i32,
    ticks_of_ended_children: u32,
}

impl Stat {
    /// `None` if there is no such process any more.
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in parentheses, which may hold spaces and parentheses itself.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
        Some(Self {
            parent: fields.get(4 - 3)?.parse().ok()?,
            ticks_of_ended_children: number(16)? + number(17)?,
        })
    }
}
