//! Was the machine quiet? What others computed meanwhile, and what the hypervisor took away.
//!
//! One compiler at low priority beside a bench can cost it nine tenths of its commits a second, so a
//! figure without this is none. Time in interrupts counts for nobody: a bench over sockets makes its own.

use std::time::Instant;

/// More of the machine than this in other hands, and the figures of that time are not to be trusted.
const OTHERS_MAX: f64 = 0.03;

/// A look at the counters, to be compared with a later one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    at: Instant,
    /// Ticks that all processes computed.
    all: u64,
    /// Ticks that another machine had instead.
    stolen: u64,
    /// Ticks of this process and of its children that have ended.
    ours: u64,
}

/// What happened between two looks, as shares of the machine.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Beside {
    /// Computed by others.
    pub(crate) others: f64,
    /// Taken by the hypervisor.
    pub(crate) stolen: f64,
}

impl Beside {
    pub(crate) fn is_quiet(self) -> bool {
        self.others + self.stolen <= OTHERS_MAX
    }
}

impl Look {
    /// Look while no child runs: what a child computed counts once it has ended.
    pub(crate) fn now() -> Look {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; source: proc_stat(5).
        let ticks: Vec<u64> = line.split_whitespace().skip(1).map(number).collect();
        let at = |place: usize| ticks.get(place).copied().unwrap_or(0);
        let own = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let (_, fields) = own.rsplit_once(')').unwrap_or_default();
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // utime stime cutime cstime; source: proc_pid_stat(5).
        let ours = fields.iter().skip(11).take(4).copied().map(number).sum();
        Look {
            at: Instant::now(),
            all: at(0) + at(1) + at(2),
            stolen: at(7),
            ours,
        }
    }

    /// What happened since.
    pub(crate) fn since(&self) -> Beside {
        /// Linux counts in hundredths of a second on every machine of today.
        const TICKS: f64 = 100.0;
        let now = Look::now();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let whole = self.at.elapsed().as_secs_f64() * TICKS * cores as f64;
        let all = now.all.saturating_sub(self.all);
        let others = all.saturating_sub(now.ours.saturating_sub(self.ours));
        let stolen = now.stolen.saturating_sub(self.stolen);
        Beside {
            others: others as f64 / whole.max(1.0),
            stolen: stolen as f64 / whole.max(1.0),
        }
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// The load of the last minute.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|load| load.parse().ok()).unwrap_or(0.0)
}
