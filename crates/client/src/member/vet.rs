//! Who may stand in a group, and what a commit may change.

use std::collections::BTreeMap;

use ahoy_proto::{AccountId, DeviceId};

use crate::mls::{self, Leaf};

use super::Identity;
use super::conversation::KindRecord;
use super::people::{People, Standing};

/// Why a group, or a change of it, is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Distrust {
    /// A device of a pinned account shows another account key.
    KeyChanged(AccountId, [u8; 32]),
    /// An account that is no member, a device twice, a removal that is not the committer's business.
    Rules,
}

/// Checks everybody in a group: this device is in it; no device stands there twice; each account's devices are bound by one
/// account key, the pinned one if there is any; and a one-to-one conversation is of its two accounts.
pub(super) fn vet(leaves: &[Leaf], own: &Identity, kind: KindRecord, people: &People) -> Result<(), Distrust> {
    let mut keys: BTreeMap<AccountId, [u8; 32]> = BTreeMap::new();
    let mut devices: Vec<DeviceId> = leaves.iter().map(|leaf| leaf.device).collect();
    devices.sort_unstable();
    if devices.windows(2).any(|pair| pair[0] == pair[1]) || devices.binary_search(&own.device).is_err() {
        return Err(Distrust::Rules);
    }
    for leaf in leaves {
        if leaf.account == own.account {
            if leaf.account_key != own.account_key {
                return Err(Distrust::Rules);
            }
            continue;
        }
        if matches!(kind, KindRecord::Pair(peer) if peer != leaf.account) {
            return Err(Distrust::Rules);
        }
        match people.standing(leaf.account, &leaf.account_key) {
            Standing::Pinned => {}
            Standing::Changed => return Err(Distrust::KeyChanged(leaf.account, leaf.account_key)),
            Standing::Unknown if *keys.entry(leaf.account).or_insert(leaf.account_key) == leaf.account_key => {}
            Standing::Unknown => return Err(Distrust::Rules),
        }
    }
    Ok(())
}

/// What is known of a conversation where a commit stands in the log.
pub(super) struct Circumstances<'a> {
    /// Members before the commit.
    pub(super) members: &'a [AccountId],
    /// Devices in the group before the commit.
    pub(super) leaves: &'a [(AccountId, DeviceId)],
    /// As the log entry says.
    pub(super) added: &'a [AccountId],
    /// As the log entry says.
    pub(super) removed: &'a [AccountId],
}

/// Checks what a commit did. An external commit adds a device of a member and removes at most that device's old leaf. A
/// member's commit adds devices of members and of accounts that stand in `added`, and removes devices of its maker's
/// account, of accounts in `removed`, and of those that are no members.
pub(super) fn vet_change(change: &mls::Change, at: &Circumstances<'_>) -> Result<(), Distrust> {
    let own_leaf = |leaf: &Leaf| leaf.account == change.by.account && leaf.device == change.by.device;
    let is_member = |account: AccountId| at.members.contains(&account);
    let fair = if change.external {
        is_member(change.by.account) && change.added.iter().all(own_leaf) && change.removed.iter().all(own_leaf)
    } else {
        let may_come = |leaf: &Leaf| is_member(leaf.account) || at.added.contains(&leaf.account);
        let may_go = |leaf: &Leaf| {
            leaf.account == change.by.account || at.removed.contains(&leaf.account) || !is_member(leaf.account)
        };
        let stands =
            at.leaves.iter().any(|(account, device)| (*account, *device) == (change.by.account, change.by.device));
        stands && change.added.iter().all(may_come) && change.removed.iter().all(may_go)
    };
    if fair { Ok(()) } else { Err(Distrust::Rules) }
}
