//! What this process runs on and may do there, as its kernel tells it.

use std::fs;

use ahoy_proto::control::Machine;
use rustix::fs::StatVfsMountFlags;

/// `None` where `/proc` does not tell.
pub(super) fn own() -> Option<Machine> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let root = rustix::fs::statvfs("/").ok()?;
    read(&status, kernel.trim(), root.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn read(status: &str, kernel: &str, read_only_root: bool) -> Option<Machine> {
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.split_whitespace())
    };
    Some(Machine {
        kernel: kernel.to_owned(),
        // Real, effective, saved, of the file system.
        uid: field("Uid")?.nth(1)?.parse().ok()?,
        capabilities: u64::from_str_radix(field("CapEff")?.next()?, 16).ok()?,
        seccomp: field("Seccomp")?.next()?.parse().ok()?,
        no_new_privs: field("NoNewPrivs")?.next()? == "1",
        read_only_root,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tahoyd\nUmask:\t0077\nUid:\t0\t998\t998\t998\nGid:\t998\t998\t998\t998\n\
        CapInh:\t0000000000000400\nCapEff:\t0000000000000400\nCapBnd:\t0000000000000400\nNoNewPrivs:\t1\n\
        Seccomp:\t2\nSeccomp_filters:\t7\n";

    #[test]
    fn the_kernel_s_words_are_read() {
        let machine = read(STATUS, "6.1.0-40-amd64", true).unwrap();
        assert_eq!(
            machine,
            Machine {
                kernel: "6.1.0-40-amd64".to_owned(),
                uid: 998,
                capabilities: 0x400,
                seccomp: 2,
                no_new_privs: true,
                read_only_root: true
            }
        );
        assert!(machine.weaknesses().is_empty());
        assert_eq!(read("Name:\tahoyd\n", "6.1", false), None, "a kernel that tells less");
    }

    #[test]
    fn this_very_process_is_described() {
        let machine = own().unwrap();
        assert_eq!(machine.uid, rustix::process::geteuid().as_raw());
        assert!(!machine.kernel.is_empty());
    }
}
