//! What a process uses of the machine.

use std::{fs, time::Duration};

use crate::Result;

/// The time on the CPU of a process's threads of this name, or of all of them.
pub(crate) fn cpu_of(pid: u32, name: Option<&str>) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let comm = fs::read_to_string(task.join("comm"))?;
        if name.is_none_or(|name| comm.trim_end() == name) {
            // To the nanosecond, where stat has ticks of 10 ms.
            let schedstat = fs::read_to_string(task.join("schedstat"))?;
            sum += Duration::from_nanos(schedstat.split(' ').next().unwrap_or_default().parse()?);
        }
    }
    Ok(sum)
}

/// Memory that is in RAM, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    /// The most there has been since [`forget_peak`].
    pub(crate) peak: u64,
}

pub(crate) fn memory_of(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let number = line.and_then(|line| line.trim_end_matches(" kB").trim().parse::<u64>().ok());
        number.ok_or_else(|| format!("/proc/{pid}/status has no {key}"))
    };
    Ok(Memory { now: kilobytes("VmRSS:")? * 1024, peak: kilobytes("VmHWM:")? * 1024 })
}

/// Lets the peak begin anew: see proc_pid_clear_refs(5).
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// In MB of a million bytes.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
