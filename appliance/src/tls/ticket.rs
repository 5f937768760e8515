//! Session tickets (RFC 5077, RFC 8446 §4.6.1): the server's state, encrypted and kept by the client.
//!
//! ```text
//! key name (16) | nonce (12) | sealed state | tag (16)
//! ```
//!
//! A site has a current and a previous key; [`super::Store::rotate`] builds a new value rather than changing
//! this one. A ticket can be decrypted only with the keys of the site that issued it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::crypto::SecureRandom;
use rustls::server::ProducesTickets;
use zeroize::Zeroize as _;

/// Lifetime of the current key in seconds.
pub(super) const ROTATE_AFTER_S: u64 = 6 * 60 * 60;
/// Lifetime of a ticket in seconds: as long as its key is current or previous.
const LIFETIME_S: u32 = 6 * 60 * 60;
const NAME_LEN: usize = 16;
/// Limit on the length of a ticket; those with client certificates are the largest.
const MAX_TICKET: usize = 16 << 10;

struct TicketKey {
    name: [u8; NAME_LEN],
    key: LessSafeKey,
}

impl TicketKey {
    fn new(random: &dyn SecureRandom) -> Option<Self> {
        let (mut name, mut secret) = ([0; NAME_LEN], [0; 32]);
        random.fill(&mut name).ok()?;
        random.fill(&mut secret).ok()?;
        let key = UnboundKey::new(&AES_256_GCM, &secret).ok().map(LessSafeKey::new);
        secret.zeroize();
        Some(Self { name, key: key? })
    }
}

/// The ticket keys of a site.
#[derive(Clone)]
pub(super) struct TicketKeys {
    random: &'static dyn SecureRandom,
    current: Arc<TicketKey>,
    previous: Option<Arc<TicketKey>>,
}

impl core::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TicketKeys")
    }
}

impl TicketKeys {
    /// Fresh keys; `None` without random bytes.
    pub(super) fn new(random: &'static dyn SecureRandom) -> Option<Self> {
        Some(Self { random, current: Arc::new(TicketKey::new(random)?), previous: None })
    }

    /// Adds a new current key; the old one still decrypts tickets. `None` without random bytes.
    pub(super) fn rotated(&self) -> Option<Self> {
        let current = Arc::new(TicketKey::new(self.random)?);
        Some(Self { random: self.random, current, previous: Some(self.current.clone()) })
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let TicketKey { name, key } = &*self.current;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut sealed)
            .ok()?;
        let mut ticket = Vec::with_capacity(NAME_LEN + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(name);
        ticket.extend_from_slice(&nonce);
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_LEN).filter(|_| ticket.len() <= MAX_TICKET)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = [Some(&self.current), self.previous.as_ref()];
        let TicketKey { name, key } = &**keys.into_iter().flatten().find(|key| key.name == *name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let len = key.open_in_place(nonce, Aad::from(name), &mut sealed).ok()?.len();
        sealed.truncate(len);
        Some(sealed)
    }
}
