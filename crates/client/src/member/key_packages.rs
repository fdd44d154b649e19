//! Key packages: by them others bring this device into groups while it is away.

use ahoy_proto::limits::KEY_PACKAGES_MAX;
use ahoy_proto::v1;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use v1::client_message::Body;

use crate::mls::{Group, Mls, MlsError, Values};

use super::outbox::Outbox;

pub(super) const SHELF_PREFIX: &[u8] = b"key-package/";
pub(super) const RECORD_KEY: &[u8] = b"key-packages";

/// Key packages kept at the supernode: 20 new conversations between two visits, at about 10 KB to publish.
const STOCK: usize = 20;

/// Published anew when this few are left.
const STOCK_LOW: usize = 10;

/// Secrets of all key packages that may still be used.
#[derive(Default)]
pub(super) struct KeyPackages {
    shelf: Values,
    record: Record,
}

#[derive(Default, Serialize, Deserialize)]
struct Record {
    /// Left at the supernode, as far as this device can know; 0 until it has confirmed the first.
    stock: usize,
    /// Places on the shelf, oldest first.
    order: Vec<Vec<u8>>,
}

impl KeyPackages {
    /// Takes over one persisted pair.
    pub(super) fn restore(&mut self, key: &[u8], value: Vec<u8>) {
        if key == RECORD_KEY {
            self.record = serde_json::from_slice(&value).unwrap_or_default();
        } else if let Some(place) = key.strip_prefix(SHELF_PREFIX) {
            self.shelf.insert(place.to_vec(), value);
        }
    }

    /// What to publish, if the stock is low; the secrets are in the batch before the request can leave.
    pub(super) fn restock(&mut self, mls: &Mls, outbox: &mut Outbox) -> Option<Body> {
        if self.record.stock >= STOCK_LOW {
            return None;
        }
        let mut shelf = self.shelf.clone();
        let made = mls.key_packages(&mut shelf, STOCK - self.record.stock).ok()?;
        let last_resort = if self.record.stock == 0 { mls.last_resort(&mut shelf).ok()? } else { Bytes::new() };
        let mut new: Vec<Vec<u8>> = shelf.keys().filter(|key| !self.shelf.contains_key(*key)).cloned().collect();
        new.sort();
        self.record.order.extend(new);
        let excess = self.record.order.len().saturating_sub(KEY_PACKAGES_MAX);
        for place in self.record.order.drain(..excess) {
            shelf.remove(&place);
        }
        self.put(shelf, outbox);
        Some(Body::PublishKeyPackages(v1::PublishKeyPackages { key_packages: made, last_resort }))
    }

    /// The supernode has what was published.
    pub(super) fn restocked(&mut self, outbox: &mut Outbox) {
        self.record.stock = STOCK;
        outbox.write(RECORD_KEY.to_vec(), &self.record);
    }

    /// One was handed out.
    pub(super) fn claimed(&mut self, outbox: &mut Outbox) {
        self.record.stock = self.record.stock.saturating_sub(1);
        outbox.write(RECORD_KEY.to_vec(), &self.record);
    }

    /// Enters a group by a Welcome to one of the key packages; `approve` decides whether to stay. One that is refused
    /// uses nothing up.
    pub(super) fn join<'a, E: From<MlsError>>(
        &mut self,
        mls: &'a Mls,
        welcome: &[u8],
        outbox: &mut Outbox,
        approve: impl FnOnce(&Group<'a>) -> Result<(), E>,
    ) -> Result<Group<'a>, E> {
        let (group, shelf) = mls.join(&self.shelf, welcome)?;
        approve(&group)?;
        // A Welcome to the last resort says that all others are used up.
        let used = self.shelf.len() - shelf.len();
        self.record.stock = if used == 0 { 0 } else { self.record.stock.saturating_sub(used) };
        self.record.order.retain(|place| shelf.contains_key(place));
        self.put(shelf, outbox);
        Ok(group)
    }

    fn put(&mut self, shelf: Values, outbox: &mut Outbox) {
        outbox.write_values(SHELF_PREFIX, &self.shelf, &shelf);
        self.shelf = shelf;
        outbox.write(RECORD_KEY.to_vec(), &self.record);
    }
}
