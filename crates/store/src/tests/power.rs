//! What was acknowledged survives a power cut.
//!
//! The database stands on a file system in an image file. In the middle of the writing the image is copied: it holds what
//! the file system has written to its disk, and nothing that still waits in the kernel's memory. A file written without a sync
//! shows that this is so: its content is not in the copy. The copy is then mounted, which recovers the file system as after
//! a power cut, and the store is opened there.
//!
//! What this does not show: disks that lie about flushing, or that lose writes they have taken but not flushed in another
//! order than they came.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::kill::{check_kept, write_for_ever};
use super::*;

/// Set in the process that writes until it is killed: where to.
const WRITE_TO: &str = "AHOY_STORE_TEST_WRITE_TO_DISK";

/// Acknowledgements after which the power goes: in the first batch, and amid checkpoints of the write-ahead log.
const CUTS: [u64; 3] = [1, 400, 1_500];

/// Bytes of the disk.
const DISK: u64 = 64 * 1024 * 1024;

#[test]
fn whatever_was_acknowledged_survives_a_power_cut() {
    if let Some(path) = env::var_os(WRITE_TO) {
        write_for_ever(&PathBuf::from(path));
    }
    for cut in CUTS {
        let folder = TempDir::new().unwrap();
        let image = folder.path().join("disk");
        let Some(disk) = make_disk(&image, &folder.path().join("before")) else {
            assert!(env::var_os("CI").is_none(), "CI must run as root, where loop devices are");
            eprintln!("skipped: only root can mount a disk");
            return;
        };
        fs::write(disk.0.join("not synced"), [7; 1_000]).unwrap();
        let copy = folder.path().join("copy");
        let acknowledged = write_until(cut, &disk.0.join("ahoy.db"), || _ = fs::copy(&image, &copy).unwrap());
        drop(disk);

        let after = Disk::mount(&copy, &folder.path().join("after")).unwrap();
        let not_synced = fs::read(after.0.join("not synced")).unwrap_or_default();
        assert!(!not_synced.contains(&7), "the copy holds what never reached the disk: it proves nothing");
        check_kept(&after.0.join("ahoy.db"), acknowledged);
    }
}

/// Lets another process write until so much is acknowledged, and halts it there for `at_cut`. Gives what was acknowledged.
fn write_until(cut: u64, path: &Path, at_cut: impl FnOnce()) -> u64 {
    let mut writer = Command::new(env::current_exe().unwrap())
        .args(["--exact", "tests::power::whatever_was_acknowledged_survives_a_power_cut", "--nocapture"])
        .env(WRITE_TO, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut epochs =
        lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("epoch ")?.strip_suffix('.')?.parse().ok());
    let acknowledged = epochs.find(|epoch: &u64| *epoch >= cut);
    // Halted, so that the copy is of one moment.
    let halted = Command::new("kill").args(["-STOP", &writer.id().to_string()]).status().unwrap();
    assert!(halted.success());
    at_cut();
    writer.kill().unwrap();
    writer.wait().unwrap();
    drop(epochs);
    acknowledged.expect("the writer never ends by itself")
}

/// A file system of its own in a file, mounted; `None` where that is not allowed.
fn make_disk(image: &Path, at: &Path) -> Option<Disk> {
    fs::File::create(image).unwrap().set_len(DISK).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image).status();
    made.is_ok_and(|made| made.success()).then(|| Disk::mount(image, at)).flatten()
}

/// A mounted file system.
struct Disk(PathBuf);

impl Disk {
    fn mount(image: &Path, at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        // The journal is written when somebody syncs, not every five seconds.
        let status = Command::new("mount").args(["-o", "loop,commit=300"]).arg(image).arg(at).status();
        status.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}
