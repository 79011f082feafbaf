//! What the system knows of this process. Linux tells in files; elsewhere nothing is known.

use std::fs;

/// Pages that the process was given without reading a disk, so far.
pub(super) fn page_faults() -> Option<u64> {
    // The tenth field, counted from the end of the command's name, which may hold spaces: proc_pid_stat(5).
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(7)?.parse().ok()
}

/// The most memory that the process held, in MiB.
pub(super) fn peak_mib() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_memory_is_counted_where_the_system_tells() {
        let (Some(faults), Some(mib)) = (page_faults(), peak_mib()) else {
            assert_ne!(std::env::consts::OS, "linux");
            return;
        };
        let memory = vec![1u8; 64 << 20];
        assert!(page_faults().unwrap() > faults && peak_mib().unwrap() >= mib.max(64.0));
        assert_eq!(memory[memory.len() / 2], 1);
    }
}
