//! One MLS group in one epoch, as of one snapshot of its values.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};

use ahoy_proto::DeviceId;
use bytes::Bytes;
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    ContentType, GroupId, KeyPackage, LeafNodeParameters, MlsGroup, MlsMessageBodyIn, MlsMessageOut,
    ProcessedMessageContent, ProcessedWelcome, Proposal, ProtocolMessage, Sender, StagedCommit, StagedWelcome,
};
use openmls_traits::OpenMlsProvider as _;

use super::provider::{Provider, Values};
use super::{Leaf, Mls, MlsError, SUITE, capabilities, join_config, leaf, lifetime, message};

/// What openmls stores of one group in one epoch.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) values: Values,
    /// Names the opened group that is the same as these values; `None` when there is none.
    stamp: Option<u64>,
}

impl From<Values> for Snapshot {
    fn from(values: Values) -> Self {
        Self { values, stamp: None }
    }
}

/// Groups kept open beside their snapshots: reading one of 512 devices takes 15 ms, sealing a message a third of one.
#[derive(Default)]
pub(super) struct Opened(RefCell<OpenedGroups>);

#[derive(Default)]
struct OpenedGroups {
    last_stamp: u64,
    groups: VecDeque<(u64, MlsGroup)>,
}

/// Open groups at once, the conversations that are busy; the largest take a megabyte.
const OPENED_MAX: usize = 8;

impl Opened {
    /// Takes a group out; it comes back by `put` with another stamp, or not at all.
    fn take(&self, stamp: u64) -> Option<MlsGroup> {
        let groups = &mut self.0.borrow_mut().groups;
        let at = groups.iter().position(|(of, _)| *of == stamp)?;
        groups.remove(at).map(|(_, group)| group)
    }

    fn put(&self, group: MlsGroup) -> u64 {
        let mut opened = self.0.borrow_mut();
        opened.last_stamp += 1;
        let stamp = opened.last_stamp;
        if opened.groups.len() >= OPENED_MAX {
            opened.groups.pop_front();
        }
        opened.groups.push_back((stamp, group));
        stamp
    }
}

/// A group in a transaction: [`Group::close`] gives the snapshot to keep; one that is dropped has changed nothing.
pub(crate) struct Group<'a> {
    provider: Provider<'a>,
    group: MlsGroup,
}

/// A group made by this device.
pub(crate) struct Created<'a> {
    pub(crate) group: Group<'a>,
    pub(crate) group_info: Bytes,
    /// For every device added; `None` when there was nobody to add.
    pub(crate) welcome: Option<Bytes>,
}

/// A group entered by an external commit, which counts once the supernode has accepted it.
pub(crate) struct Entered<'a> {
    pub(crate) group: Group<'a>,
    pub(crate) commit: Bytes,
    pub(crate) group_info: Bytes,
}

/// A commit of this device, which counts once the supernode has accepted it: [`Group::merge`].
pub(crate) struct Committed {
    pub(crate) commit: Bytes,
    /// Of the epoch that it leads to.
    pub(crate) group_info: Bytes,
    /// For every device added; `None` when there was nobody to add.
    pub(crate) welcome: Option<Bytes>,
}

/// An application message.
pub(crate) struct Unsealed {
    pub(crate) sender: Leaf,
    pub(crate) epoch: u64,
    pub(crate) plain: Vec<u8>,
}

/// What a commit changed.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// Who made it.
    pub(crate) by: Leaf,
    /// Whether it came from outside the group.
    pub(crate) external: bool,
    pub(crate) added: Vec<Leaf>,
    pub(crate) removed: Vec<Leaf>,
    /// Who is in the group after it.
    pub(crate) leaves: Vec<Leaf>,
}

impl Mls {
    /// Makes a group of this device and the owners of these key packages.
    pub(crate) fn create(&self, id: GroupId, packages: Vec<KeyPackage>) -> Result<Created<'_>, MlsError> {
        let provider = Provider::open(self, &Values::new());
        let mut group = MlsGroup::builder()
            .with_group_id(id)
            .ciphersuite(SUITE)
            .with_capabilities(capabilities())
            .lifetime(lifetime())
            .max_past_epochs(0)
            .padding_size(super::PADDING)
            .use_ratchet_tree_extension(true)
            .with_wire_format_policy(join_config().wire_format_policy())
            .sender_ratchet_configuration(*join_config().sender_ratchet_configuration())
            .build(&provider, &self.signer, self.credential.clone())
            .map_err(|_| MlsError::Malformed)?;
        let mut welcome = None;
        if !packages.is_empty() {
            let (_, message, _) =
                group.add_members(&provider, &self.signer, &packages).map_err(|_| MlsError::Malformed)?;
            group.merge_pending_commit(&provider).map_err(|_| MlsError::Malformed)?;
            welcome = Some(encode(&message)?);
        }
        let group = Group { provider, group };
        let group_info = group.info(self)?;
        Ok(Created { group, group_info, welcome })
    }

    /// Enters a group by a Welcome; `shelf` holds the key packages' secrets and comes back without the one used.
    pub(crate) fn join(&self, shelf: &Values, welcome: &[u8]) -> Result<(Group<'_>, Values), MlsError> {
        let MlsMessageBodyIn::Welcome(welcome) = message(welcome)? else { return Err(MlsError::Malformed) };
        let provider = Provider::open(self, shelf);
        let staged = ProcessedWelcome::new_from_welcome(&provider, &join_config(), welcome)
            .and_then(|processed| processed.into_staged_welcome(&provider, None))
            .map_err(|_| MlsError::Refused)?;
        let group = StagedWelcome::into_group(staged, &provider).map_err(|_| MlsError::Refused)?;
        let mut values = provider.close();
        let left: Values = shelf
            .iter()
            .filter(|(key, _)| values.contains_key(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        values.retain(|key, _| !shelf.contains_key(key));
        let provider = Provider::open(self, &values);
        Ok((Group { provider, group }, left))
    }

    /// Enters a group by an external commit, which removes this device's old leaf if there is one.
    pub(crate) fn enter(&self, group_info: &[u8]) -> Result<Entered<'_>, MlsError> {
        let MlsMessageBodyIn::GroupInfo(info) = message(group_info)? else { return Err(MlsError::Malformed) };
        if info.ciphersuite() != SUITE {
            return Err(MlsError::Malformed);
        }
        let provider = Provider::open(self, &Values::new());
        let parameters = LeafNodeParameters::builder().with_capabilities(capabilities()).build();
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(join_config())
            .build_group(&provider, info, self.credential.clone())
            .map_err(|_| MlsError::Refused)?
            .leaf_node_parameters(parameters)
            .load_psks(provider.storage())
            .map_err(|_| MlsError::Refused)?
            .build(provider.rand(), provider.crypto(), &self.signer, |_| true)
            .map_err(|_| MlsError::Refused)?
            .finalize(&provider)
            .map_err(|_| MlsError::Refused)?;
        let commit = encode(bundle.commit())?;
        let group = Group { provider, group };
        let group_info = group.info(self)?;
        Ok(Entered { group, commit, group_info })
    }
}

impl<'a> Group<'a> {
    /// The group that a snapshot holds.
    pub(crate) fn open(mls: &'a Mls, id: &GroupId, snapshot: &Snapshot) -> Result<Self, MlsError> {
        let provider = Provider::open(mls, &snapshot.values);
        let opened = snapshot.stamp.and_then(|stamp| mls.opened.take(stamp));
        let group = match opened {
            Some(group) => group,
            None => MlsGroup::load(provider.storage(), id).ok().flatten().ok_or(MlsError::NoGroup)?,
        };
        Ok(Self { provider, group })
    }

    /// What to keep of the transaction.
    pub(crate) fn close(self) -> Snapshot {
        let stamp = Some(self.provider.mls().opened.put(self.group));
        Snapshot { values: self.provider.close(), stamp }
    }

    pub(crate) fn id(&self) -> &GroupId {
        self.group.group_id()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.group.epoch().as_u64()
    }

    /// Who is in the group.
    pub(crate) fn leaves(&self) -> Result<Vec<Leaf>, MlsError> {
        self.group.members().map(|member| leaf::read(&member.credential, &member.signature_key)).collect()
    }

    /// The secret that this epoch's voice keys are made from.
    pub(crate) fn voice_secret(&self) -> Result<[u8; 32], MlsError> {
        let crypto = self.provider.crypto();
        let secret = self.group.export_secret(crypto, VOICE_LABEL, &[], 32).map_err(|_| MlsError::NoGroup)?;
        secret.try_into().map_err(|_| MlsError::NoGroup)
    }

    /// Seals an application message.
    pub(crate) fn seal(&mut self, mls: &Mls, plain: &[u8]) -> Result<Bytes, MlsError> {
        let message = self.group.create_message(&self.provider, &mls.signer, plain).map_err(|_| MlsError::NoGroup)?;
        encode(&message)
    }

    /// Opens an application message: who sealed it, in which epoch, and what it holds.
    pub(crate) fn unseal(&mut self, bytes: &[u8]) -> Result<Unsealed, MlsError> {
        let message = self.message(bytes, ContentType::Application)?;
        let epoch = message.epoch().as_u64();
        let processed = self.group.process_message(&self.provider, message).map_err(|_| MlsError::Refused)?;
        let sender = leaf::sender(processed.credential())?;
        let ProcessedMessageContent::ApplicationMessage(message) = processed.into_content() else {
            return Err(MlsError::Refused);
        };
        Ok(Unsealed { sender, epoch, plain: message.into_bytes() })
    }

    /// Moves the group to its next epoch by somebody else's commit, in this transaction; the caller judges the change.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Change, MlsError> {
        let message = self.message(bytes, ContentType::Commit)?;
        if message.epoch() != self.group.epoch() {
            return Err(MlsError::Refused);
        }
        let processed = self.group.process_message(&self.provider, message).map_err(|_| MlsError::Refused)?;
        let external = matches!(processed.sender(), Sender::NewMemberCommit);
        let by = leaf::sender(processed.credential())?;
        let ProcessedMessageContent::StagedCommitMessage(commit) = processed.into_content() else {
            return Err(MlsError::Refused);
        };
        self.apply(*commit, by, external)
    }

    /// Makes a commit that adds the owners of these key packages and removes these devices. It replaces one made before
    /// that was not accepted.
    pub(crate) fn commit(
        &mut self,
        mls: &Mls,
        add: Vec<KeyPackage>,
        remove: &[DeviceId],
    ) -> Result<Committed, MlsError> {
        self.group.clear_pending_commit(self.provider.storage()).map_err(|_| MlsError::NoGroup)?;
        let mut indexes = Vec::with_capacity(remove.len());
        for member in self.group.members().filter(|_| !remove.is_empty()) {
            let leaf = leaf::read(&member.credential, &member.signature_key)?;
            if remove.contains(&leaf.device) {
                indexes.push(member.index);
            }
        }
        let bundle = self
            .group
            .commit_builder()
            .force_self_update(true)
            .propose_adds(add)
            .propose_removals(indexes)
            .load_psks(self.provider.storage())
            .map_err(|_| MlsError::Refused)?
            .create_group_info(true)
            .build(self.provider.rand(), self.provider.crypto(), &mls.signer, |_| true)
            .map_err(|_| MlsError::Refused)?
            .stage_commit(&self.provider)
            .map_err(|_| MlsError::Refused)?;
        let (commit, welcome, group_info) = bundle.into_messages();
        let group_info = encode(&group_info.ok_or(MlsError::Malformed)?)?;
        Ok(Committed { commit: encode(&commit)?, group_info, welcome: welcome.as_ref().map(encode).transpose()? })
    }

    /// Moves the group to its next epoch by this device's own commit.
    pub(crate) fn merge(&mut self) -> Result<(), MlsError> {
        if self.group.pending_commit().is_none() {
            return Err(MlsError::Refused);
        }
        self.group.merge_pending_commit(&self.provider).map_err(|_| MlsError::Refused)
    }

    fn message(&self, bytes: &[u8], kind: ContentType) -> Result<ProtocolMessage, MlsError> {
        let message: ProtocolMessage = match message(bytes)? {
            MlsMessageBodyIn::PublicMessage(message) => message.into(),
            MlsMessageBodyIn::PrivateMessage(message) => message.into(),
            _ => return Err(MlsError::Malformed),
        };
        if message.group_id() != self.group.group_id() || message.content_type() != kind {
            return Err(MlsError::Malformed);
        }
        if message.epoch() > self.group.epoch() { Err(MlsError::Future) } else { Ok(message) }
    }

    fn apply(&mut self, commit: StagedCommit, by: Leaf, external: bool) -> Result<Change, MlsError> {
        let allowed = |proposal: &Proposal| {
            matches!(proposal, Proposal::Add(_) | Proposal::Remove(_) | Proposal::ExternalInit(_))
        };
        if commit.self_removed() || !commit.queued_proposals().all(|queued| allowed(queued.proposal())) {
            return Err(MlsError::Refused);
        }
        let before = self.leaves()?;
        self.group.merge_staged_commit(&self.provider, commit).map_err(|_| MlsError::Refused)?;
        let after = self.leaves()?;
        let (old, new): (HashSet<&Leaf>, HashSet<&Leaf>) = (before.iter().collect(), after.iter().collect());
        let added = after.iter().filter(|leaf| !old.contains(leaf)).cloned().collect();
        let removed = before.iter().filter(|leaf| !new.contains(leaf)).cloned().collect();
        Ok(Change { by, external, added, removed, leaves: after })
    }

    /// GroupInfo with ratchet tree and external public key, for devices that come later.
    fn info(&self, mls: &Mls) -> Result<Bytes, MlsError> {
        let crypto = self.provider.crypto();
        let info = self.group.export_group_info(crypto, &mls.signer, true).map_err(|_| MlsError::NoGroup)?;
        encode(&info)
    }
}

/// Label of the MLS exporter; context empty, 32 bytes.
const VOICE_LABEL: &str = "ahoy/1 voice";

fn encode(message: &MlsMessageOut) -> Result<Bytes, MlsError> {
    message.tls_serialize_detached().map(Bytes::from).map_err(|_| MlsError::Malformed)
}
