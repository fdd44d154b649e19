//! What a supernode says of itself, and its bytes.

use ahoy_proto::control::{KERNEL_BYTES_MAX, Machine};
use ahoy_proto::{SupernodeId, v1};
use prost::Message as _;

/// The bytes of a lease as they are kept, at most. Its fields take half of that; the rest is for later versions.
pub(crate) const LEASE_BYTES_MAX: usize = 512;

/// The version of a program, at most.
const VERSION_BYTES_MAX: usize = 64;

/// A supernode's word that it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who.
    pub supernode: SupernodeId,
    /// In which life: a later one has a greater number.
    pub incarnation: u64,
    /// The version of its program, for the operator.
    pub version: String,
    /// Whether it is to be home of nothing.
    pub draining: bool,
    /// What it carries, for the operator.
    pub figures: Figures,
    /// What it runs on, for the operator; `None` where it does not say.
    pub machine: Option<Machine>,
}

/// What a supernode carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Signed-in links.
    pub sessions: u32,
    /// How many it takes.
    pub sessions_max: u32,
    /// Calls that are at home there.
    pub calls: u32,
    /// Legs of any call whose links are there.
    pub legs: u32,
    /// Supernodes in its view, itself included.
    pub supernodes: u32,
    /// Processor time that it takes, in thousandths of all cores.
    pub load_permille: u32,
    /// How late it did what it does each second, in milliseconds.
    pub lag_ms: u32,
}

impl Lease {
    /// The incarnation as it stands in front of the bytes: Valkey's scripts compare it as text.
    pub(crate) fn life(&self) -> String {
        format!("{:016x}", self.incarnation)
    }

    /// As it is kept.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Figures { sessions, sessions_max, calls, legs, supernodes, load_permille, lag_ms } = self.figures;
        let figures = v1::LeaseFigures { sessions, sessions_max, calls, legs, supernodes, load_permille, lag_ms };
        let mut version = self.version.clone();
        version.truncate(version.floor_char_boundary(VERSION_BYTES_MAX));
        let message = v1::Lease {
            supernode: self.supernode.to_bytes(),
            incarnation: self.incarnation,
            version,
            draining: self.draining,
            figures: Some(figures),
            machine: self.machine.clone().map(encode_machine),
        };
        let mut bytes = self.life().into_bytes();
        bytes.extend(message.encode_to_vec());
        bytes
    }

    /// What is kept for a supernode, if it is a lease of that one.
    pub(crate) fn decode(supernode: SupernodeId, bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LEASE_BYTES_MAX {
            return None;
        }
        let (life, message) = bytes.split_at_checked(16)?;
        let v1::Lease { supernode: of, incarnation, version, draining, figures, machine } =
            v1::Lease::decode(message).ok()?;
        let v1::LeaseFigures { sessions, sessions_max, calls, legs, supernodes, load_permille, lag_ms } =
            figures.unwrap_or_default();
        let figures = Figures { sessions, sessions_max, calls, legs, supernodes, load_permille, lag_ms };
        let machine = machine.map(decode_machine);
        let lease = Self { supernode, incarnation, version, draining, figures, machine };
        let sound = *of == supernode.0 && life == lease.life().as_bytes() && lease.version.len() <= VERSION_BYTES_MAX;
        sound.then_some(lease)
    }
}

fn encode_machine(machine: Machine) -> v1::LeaseMachine {
    let Machine { mut kernel, uid, capabilities, seccomp, no_new_privs, read_only_root } = machine;
    kernel.truncate(kernel.floor_char_boundary(KERNEL_BYTES_MAX));
    v1::LeaseMachine { kernel, uid, capabilities, seccomp, no_new_privs, read_only_root }
}

/// A kernel's release that is too long is cut: it is for eyes only.
fn decode_machine(machine: v1::LeaseMachine) -> Machine {
    let v1::LeaseMachine { mut kernel, uid, capabilities, seccomp, no_new_privs, read_only_root } = machine;
    kernel.truncate(kernel.floor_char_boundary(KERNEL_BYTES_MAX));
    Machine { kernel, uid, capabilities, seccomp, no_new_privs, read_only_root }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        let figures = Figures {
            sessions: u32::MAX,
            sessions_max: u32::MAX,
            calls: u32::MAX,
            legs: u32::MAX,
            supernodes: u32::MAX,
            load_permille: u32::MAX,
            lag_ms: u32::MAX,
        };
        let version = "v".repeat(VERSION_BYTES_MAX);
        let machine = Machine {
            kernel: "k".repeat(KERNEL_BYTES_MAX),
            uid: u32::MAX,
            capabilities: u64::MAX,
            seccomp: u32::MAX,
            no_new_privs: true,
            read_only_root: true,
        };
        let (supernode, incarnation) = (SupernodeId([7; 16]), u64::MAX);
        Lease { supernode, incarnation, version, draining: true, figures, machine: Some(machine) }
    }

    #[test]
    fn the_longest_lease_survives_its_bytes_and_leaves_room_for_later_fields() {
        let bytes = lease().encode();
        assert!(bytes.len() <= LEASE_BYTES_MAX / 2, "{}", bytes.len());
        assert_eq!(Lease::decode(SupernodeId([7; 16]), &bytes), Some(lease()));
    }

    #[test]
    fn fields_of_later_versions_are_skipped() {
        let mut bytes = lease().encode();
        bytes.extend([0xfa, 0x01, 3, 1, 2, 3]);
        assert_eq!(Lease::decode(SupernodeId([7; 16]), &bytes), Some(lease()));
    }

    #[test]
    fn what_is_no_lease_of_that_supernode_is_none() {
        let good = lease().encode();
        assert_eq!(Lease::decode(SupernodeId([8; 16]), &good), None, "of another");
        assert_eq!(Lease::decode(SupernodeId([7; 16]), &good[..20]), None, "cut");
        let other_life = [b"0000000000000001", &good[16..]].concat();
        assert_eq!(Lease::decode(SupernodeId([7; 16]), &other_life), None, "of another life than it says");
        let long = [&good[..], &[0xfa, 0x01, 0xff, 0x03], &[0; 511]].concat();
        assert_eq!(Lease::decode(SupernodeId([7; 16]), &long), None, "too long");
        for length in 0..32 {
            assert_eq!(Lease::decode(SupernodeId([7; 16]), &vec![0xff; length]), None);
        }
    }
}
