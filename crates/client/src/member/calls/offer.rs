//! Offers: the sealed part of call signalling, and the voice keys that come from it.

use ahoy_proto::limits::LEGS_MAX;
use ahoy_proto::{AccountId, CallId, ConversationId, LegId, Name, v1};
use bytes::Bytes;
use prost::Message;

use crate::mls::{self, MlsError};

use super::super::event::VoiceKey;
use super::super::people::Standing;
use super::super::vet::vet;
use super::{Call, Member, Offer, Own};

/// An offer that has been opened and agrees with the message around it.
#[derive(Clone)]
pub(in crate::member) struct Opened {
    pub(super) offer: Offer,
    /// Of the account that sealed it.
    pub(super) account_key: [u8; 32],
    /// As the sealing device gives it; to be made sure of.
    pub(super) name: Option<Name>,
}

/// Why an offer was not opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OfferError {
    /// The conversation is not up to date with it.
    Behind,
    /// It does not open here: forged, replayed, or garbage.
    Sealed,
    /// It opens, and is not what the message around it says, or has nothing in common with this device.
    Wrong,
}

impl From<MlsError> for OfferError {
    fn from(error: MlsError) -> Self {
        match error {
            MlsError::Future | MlsError::NoGroup => Self::Behind,
            MlsError::Malformed | MlsError::Refused | MlsError::Unbound => Self::Sealed,
        }
    }
}

impl Member {
    /// A fresh leg of this device, and its offer sealed to the conversation. `None` when the group may not be used.
    pub(super) fn seal_offer(&mut self, call: CallId, conversation: ConversationId) -> Option<(Own, Bytes)> {
        let conversation = self.conversations.get_mut(&conversation).filter(|entry| entry.refused.is_none())?;
        let mut group = conversation.group(&self.mls).ok()?;
        vet(&group.leaves().ok()?, &self.identity, conversation.record.kind?, &self.people).ok()?;
        let leg = LegId(self.mls.random_id());
        let key = VoiceKey::new(mls::voice_key(conversation.voice_secret(group.epoch())?, call, leg));
        let offer = v1::LegOffer {
            call: call.to_bytes(),
            leg: leg.to_bytes(),
            epoch: group.epoch(),
            codecs: vec![v1::Codec::Opus.into()],
            name: self.identity.name.as_str().to_owned(),
        };
        let sealed = group.seal(&self.mls, &offer.encode_to_vec()).ok()?;
        conversation.keep(group, &mut self.outbox);
        Some((Own { leg, key, flow: None }, sealed))
    }

    /// Opens the offer of another account's leg. Whatever opens is used up: the group's state has moved on.
    pub(super) fn open_offer(
        &mut self,
        id: ConversationId,
        call: CallId,
        leg: LegId,
        account: AccountId,
        sealed: &[u8],
    ) -> Result<Opened, OfferError> {
        let conversation = self.conversations.get_mut(&id).ok_or(OfferError::Behind)?;
        let unsealed = conversation.unseal(&self.mls, sealed, &mut self.outbox)?;
        let offer = v1::LegOffer::decode(&unsealed.plain[..]).map_err(|_| OfferError::Wrong)?;
        let sender = unsealed.sender;
        let agrees = offer.call == call.0[..]
            && offer.leg == leg.0[..]
            && offer.epoch == unsealed.epoch
            && offer.codecs.contains(&v1::Codec::Opus.into())
            && sender.account == account
            && account != self.identity.account
            && self.people.standing(account, &sender.account_key) != Standing::Changed;
        let secret = conversation.voice_secret(offer.epoch).filter(|_| agrees).ok_or(OfferError::Wrong)?;
        let key = VoiceKey::new(mls::voice_key(secret, call, leg));
        let opened = Offer { leg, account, device: sender.device, key };
        Ok(Opened { offer: opened, account_key: sender.account_key, name: Name::parse(&offer.name).ok() })
    }
}

impl Call {
    /// Keeps an opened offer for when its leg comes up.
    pub(super) fn keep_offer(&mut self, offer: Offer) {
        if self.offers.len() >= LEGS_MAX {
            self.offers.remove(0);
        }
        self.offers.push(offer);
    }
}
