//! TLS_AES_128_GCM_SHA256 with *ring*, and protection of embedded-tls against malicious plaintext.
//!
//! embedded-tls 0.19 panics if a record decrypts to nothing, or if a handshake message other than a ticket
//! follows the handshake. A peer with keys could send either, so both are refused here, the only place that
//! sees plaintext before embedded-tls. The check depends on whether the handshake is over, but `Cipher` has
//! no access to a value that tells; so the record's version, which is ignored otherwise (RFC 8446 §5.1),
//! carries this information. See [`mark_established`].

use aead::consts::{U0, U12, U16};
use aead::generic_array::GenericArray;
use aead::{AeadCore, AeadInPlace, Error, Key, KeyInit, KeySizeUser, Nonce, Tag};
use embedded_tls::{Aes128GcmSha256, Sha256, TlsCipherSuite};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, UnboundKey};

/// Content types (RFC 8446 §5.1).
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
/// A handshake message type (RFC 8446 §4.6.3).
const KEY_UPDATE: u8 = 24;
/// Length of a record header: type, version, length.
pub(super) const HEADER: usize = 5;

const VERSION: [u8; 2] = [3, 3];
const ESTABLISHED: [u8; 2] = [0xff, 0xff];

/// Marks a record header as coming after the handshake.
pub(super) fn mark_established(header: &mut [u8; HEADER]) {
    header[1..3].copy_from_slice(&ESTABLISHED);
}

/// The only cipher suite on links.
pub(super) struct Suite;

impl TlsCipherSuite for Suite {
    const CODE_POINT: u16 = Aes128GcmSha256::CODE_POINT;
    type Cipher = Cipher;
    type KeyLen = U16;
    type IvLen = U12;
    type Hash = Sha256;
    type LabelBufferSize = <Aes128GcmSha256 as TlsCipherSuite>::LabelBufferSize;
}

/// AES-128-GCM with one key.
pub(super) struct Cipher(Option<LessSafeKey>);

impl KeySizeUser for Cipher {
    type KeySize = U16;
}

impl KeyInit for Cipher {
    fn new(key: &Key<Self>) -> Self {
        // The type guarantees the right length.
        Self(UnboundKey::new(&AES_128_GCM, key).ok().map(LessSafeKey::new))
    }
}

impl AeadCore for Cipher {
    type NonceSize = U12;
    type TagSize = U16;
    type CiphertextOverhead = U0;
}

fn nonce(bytes: &Nonce<Cipher>) -> ring::aead::Nonce {
    let bytes: [u8; NONCE_LEN] = (*bytes).into();
    ring::aead::Nonce::assume_unique_for_key(bytes)
}

impl AeadInPlace for Cipher {
    fn encrypt_in_place_detached(
        &self,
        iv: &Nonce<Self>,
        header: &[u8],
        content: &mut [u8],
    ) -> Result<Tag<Self>, Error> {
        let key = self.0.as_ref().ok_or(Error)?;
        let tag = key.seal_in_place_separate_tag(nonce(iv), Aad::from(header), content).map_err(|_| Error)?;
        Ok(*GenericArray::from_slice(tag.as_ref()))
    }

    fn decrypt_in_place_detached(
        &self,
        iv: &Nonce<Self>,
        header: &[u8],
        content: &mut [u8],
        tag: &Tag<Self>,
    ) -> Result<(), Error> {
        let key = self.0.as_ref().ok_or(Error)?;
        let mut header: [u8; HEADER] = header.try_into().map_err(|_| Error)?;
        let established = header[1..3] == ESTABLISHED;
        if established {
            header[1..3].copy_from_slice(&VERSION);
        }
        let tag: [u8; 16] = (*tag).into();
        key.open_in_place_separate_tag(nonce(iv), Aad::from(&header), tag.into(), content, 0..)
            .map_err(|_| Error)?;
        admit(content, established)
    }
}

/// Whether embedded-tls may see this plaintext: content, its type, zeros. After the handshake, handshake
/// messages are blanked, which is right for tickets; a key update ends the link, immediately rather than at
/// the next record.
fn admit(inner: &mut [u8], established: bool) -> Result<(), Error> {
    let end = inner.iter().rposition(|&byte| byte != 0).ok_or(Error)?;
    if established && inner[end] == HANDSHAKE {
        if inner[0] == KEY_UPDATE {
            return Err(Error);
        }
        inner[..=end].fill(0);
        inner[0] = APPLICATION_DATA;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(content: &[u8]) -> (Cipher, [u8; HEADER], alloc::vec::Vec<u8>, Tag<Cipher>) {
        let cipher = Cipher::new(&[7; 16].into());
        let len = (content.len() + 16) as u8;
        let header = [APPLICATION_DATA, 3, 3, 0, len];
        let mut bytes = content.to_vec();
        let tag = cipher.encrypt_in_place_detached(&[1; 12].into(), &header, &mut bytes).unwrap();
        (cipher, header, bytes, tag)
    }

    fn opened(content: &[u8], established: bool) -> Result<alloc::vec::Vec<u8>, Error> {
        let (cipher, mut header, mut bytes, tag) = sealed(content);
        if established {
            mark_established(&mut header);
        }
        cipher.decrypt_in_place_detached(&[1; 12].into(), &header, &mut bytes, &tag)?;
        Ok(bytes)
    }

    #[test]
    fn malicious_plaintext_does_not_reach_embedded_tls() {
        for established in [false, true] {
            assert_eq!(opened(b"", established), Err(Error), "nothing at all");
            assert_eq!(opened(&[0; 9], established), Err(Error), "padding alone");
            assert_eq!(opened(b"GET\x17\0", established).unwrap(), b"GET\x17\0");
            assert_eq!(opened(b"\x01\0\x15", established).unwrap(), b"\x01\0\x15");
        }
        assert_eq!(opened(b"\x08\0\0\x02\0\0\x16\0", false).unwrap(), b"\x08\0\0\x02\0\0\x16\0");
        assert_eq!(opened(b"\x08\0\0\x02\0\0\x16\0", true).unwrap(), b"\x17\0\0\0\0\0\0\0");
        assert_eq!(opened(b"\x16", true).unwrap(), b"\x17");
        assert_eq!(opened(b"\x18\0\0\x01\0\x16", true), Err(Error), "a key update");
    }

    #[test]
    fn altered_records_are_refused() {
        let (cipher, header, bytes, tag) = sealed(b"hello\x17");
        let open = |header: &[u8], bytes: &[u8], tag: Tag<Cipher>| {
            cipher.decrypt_in_place_detached(&[1; 12].into(), header, &mut bytes.to_vec(), &tag)
        };
        assert_eq!(open(&header, &bytes, tag), Ok(()));
        assert_eq!(open(&[APPLICATION_DATA, 3, 3, 0, 1], &bytes, tag), Err(Error));
        assert_eq!(open(&header, &bytes, [0; 16].into()), Err(Error));
        assert_eq!(open(&header[..4], &bytes, tag), Err(Error));
        let other = Cipher::new(&[8; 16].into());
        assert_eq!(
            other.decrypt_in_place_detached(&[1; 12].into(), &header, &mut bytes.clone(), &tag),
            Err(Error)
        );
    }
}
