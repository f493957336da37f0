//! What a process has used: its time on the processors, and the memory that is its own.
//!
//! On a machine that others share, the time on the processors for each job says more than jobs a second.

/// Linux counts in hundredths of a second on every machine of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds that all threads of the process `pid` computed so far. 0: it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name stands in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    // utime stime; source: proc_pid_stat(5).
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / TICKS_PER_SECOND
}

/// Memory of the process `pid` that no file stands behind, MiB. 0: it is gone.
pub(crate) fn rss_anon_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
