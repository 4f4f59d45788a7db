//! What Prometheus' clients tell of any process, from `/proc` (proc(5)). Go: `processCollector` of github.com/prometheus/client_golang.
//! What cannot be read is left out.

use super::page::{Kind, Page, float};

/// The name of the host, or of the pod.
pub fn host_name() -> Option<String> {
    read("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned())
}

pub(super) fn write(page: &mut Page) {
    let mut gauge = |name, help, value: Option<f64>| {
        if let Some(value) = value {
            page.single(name, Kind::Gauge, help, float(value));
        }
    };
    let status = read("/proc/self/status").unwrap_or_default();
    gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        kibibytes(&status, "VmRSS:").map(|kib| kib * 1024.0),
    );
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        kibibytes(&status, "VmSize:").map(|kib| kib * 1024.0),
    );
    let files = std::fs::read_dir("/proc/self/fd").ok().and_then(|files| u32::try_from(files.count()).ok());
    gauge("process_open_fds", "Number of open file descriptors.", files.map(f64::from));
    let limits = read("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = limit.and_then(|line| line.split_whitespace().next()?.parse().ok());
    gauge("process_max_fds", "Maximum number of open file descriptors.", limit);
    let stat = read("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ').collect::<Vec<_>>());
    let field = |number: usize| fields.as_ref()?.get(number - 3)?.parse::<f64>().ok();
    let booted = read("/proc/stat").and_then(|stat| {
        stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok())
    });
    let started = booted.zip(field(22)).map(|(booted, ticks)| booted + ticks / TICKS);
    let name = "process_start_time_seconds";
    gauge(name, "Start time of the process since unix epoch in seconds.", started);
    if let Some((user, system)) = field(14).zip(field(15)) {
        let help = "Total user and system CPU time spent in seconds.";
        let name = "process_cpu_seconds_total";
        page.single(name, Kind::Counter, help, float((user + system) / TICKS));
    }
}

fn kibibytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "what the kernel says is no configuration")]
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// In a second, in all that the kernel tells a process: `USER_HZ`.
const TICKS: f64 = 100.0;
