//! Length-delimited messages on an ordered stream: a protobuf varint of the length, then the message; and long messages cut
//! into fragments.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

use crate::limits::MESSAGE_MAX;
use crate::v1;

/// A message whose announced length is over the limit in force, or a length that is no varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is longer than the limit in force")]
pub struct TooLong;

/// A message as it stands on the stream.
pub fn encode(message: &impl Message) -> Bytes {
    message.encode_length_delimited_to_vec().into()
}

/// What travels in one direction of a link, whole or in fragments.
pub trait Envelope: Message {
    /// The message that carries a fragment of another one.
    fn of_fragment(fragment: v1::Fragment) -> Self;
}

impl Envelope for v1::ClientMessage {
    fn of_fragment(fragment: v1::Fragment) -> Self {
        Self { request: 0, body: Some(v1::client_message::Body::Fragment(fragment)) }
    }
}

impl Envelope for v1::SupernodeMessage {
    fn of_fragment(fragment: v1::Fragment) -> Self {
        Self { in_reply_to: 0, body: Some(v1::supernode_message::Body::Fragment(fragment)) }
    }
}

/// Longest piece of a fragment, in bytes: leaves room for four tags, two lengths and the mark of the last one.
const PIECE_MAX: usize = MESSAGE_MAX - 16;

/// A message as it stands on the stream: in one frame, or in those of its fragments when it is longer than [`MESSAGE_MAX`].
pub fn encode_message<E: Envelope>(message: &E) -> Bytes {
    if message.encoded_len() <= MESSAGE_MAX {
        return encode(message);
    }
    let whole = Bytes::from(message.encode_to_vec());
    let mut stream = Vec::with_capacity(whole.len() + 32 * whole.len().div_ceil(PIECE_MAX));
    for start in (0..whole.len()).step_by(PIECE_MAX) {
        let end = whole.len().min(start + PIECE_MAX);
        let fragment = v1::Fragment { piece: whole.slice(start..end), last: end == whole.len() };
        stream.extend_from_slice(&encode(&E::of_fragment(fragment)));
    }
    stream.into()
}

/// Puts the fragments of one message at a time together. Holds memory only while a message is unfinished.
#[derive(Debug, Default)]
pub struct Assembler {
    pieces: BytesMut,
}

impl Assembler {
    /// Takes in the next fragment; gives the encoding of the message when it was the last one.
    ///
    /// # Errors
    /// When the message is longer than `limit` bytes; what came of it is forgotten.
    pub fn push(&mut self, fragment: &v1::Fragment, limit: usize) -> Result<Option<Bytes>, TooLong> {
        if self.pieces.len() + fragment.piece.len() > limit {
            self.pieces = BytesMut::new();
            return Err(TooLong);
        }
        self.pieces.extend_from_slice(&fragment.piece);
        Ok(fragment.last.then(|| std::mem::take(&mut self.pieces).freeze()))
    }

    /// Bytes of the message that is under way.
    pub fn held(&self) -> usize {
        self.pieces.len()
    }
}

/// Cuts a stream into messages. Holds at most one unfinished message, so at most its limit and 3 bytes;
/// holds no memory between messages.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: BytesMut,
}

impl Deframer {
    /// Takes in bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the next message is longer than `limit` bytes; the stream can't be read on after that.
    pub fn next(&mut self, limit: usize) -> Result<Option<Bytes>, TooLong> {
        let Some((length, prefix)) = length_prefix(&self.buffer)? else { return Ok(None) };
        if length > limit {
            return Err(TooLong);
        }
        if self.buffer.len() < prefix + length {
            return Ok(None);
        }
        self.buffer.advance(prefix);
        let message = self.buffer.split_to(length).freeze();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(message))
    }
}

/// Longest length prefix: 4 bytes of 7 bits hold 256 MiB, far above every limit.
const PREFIX_MAX: usize = 4;

fn length_prefix(bytes: &[u8]) -> Result<Option<(usize, usize)>, TooLong> {
    let mut length = 0;
    for (index, byte) in bytes.iter().take(PREFIX_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 1)));
        }
    }
    if bytes.len() < PREFIX_MAX { Ok(None) } else { Err(TooLong) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(length: usize) -> v1::CallToken {
        v1::CallToken { call: vec![1; 16].into(), call_token: vec![7; length].into() }
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_stream_is_cut(
            lengths in proptest::collection::vec(0usize..400, 1..8),
            cut in 1usize..90,
        ) {
            let messages: Vec<_> = lengths.into_iter().map(sample).collect();
            let stream: Vec<u8> = messages.iter().flat_map(encode).collect();
            let mut deframer = Deframer::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                deframer.push(piece);
                while let Some(bytes) = deframer.next(1024).unwrap() {
                    seen.push(v1::CallToken::decode(bytes).unwrap());
                }
            }
            prop_assert_eq!(seen, messages);
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut deframer = Deframer::default();
            deframer.push(&noise);
            while let Ok(Some(_)) = deframer.next(64) {}
        }
    }

    fn long_message(length: usize) -> v1::ClientMessage {
        let commit = v1::Commit { group_info: vec![7; length].into(), ..Default::default() };
        v1::ClientMessage { request: 3, body: Some(v1::client_message::Body::Commit(commit)) }
    }

    /// The fragments that a stream holds, each in a frame of at most the longest kind.
    fn fragments(stream: &[u8]) -> Vec<v1::Fragment> {
        let mut deframer = Deframer::default();
        deframer.push(stream);
        let frames = std::iter::from_fn(|| deframer.next(MESSAGE_MAX).unwrap());
        let fragment = |frame| match v1::ClientMessage::decode(frame).unwrap() {
            v1::ClientMessage { request: 0, body: Some(v1::client_message::Body::Fragment(fragment)) } => fragment,
            other => panic!("no fragment but {other:?}"),
        };
        frames.map(fragment).collect()
    }

    #[test]
    fn a_message_that_fits_travels_whole() {
        let mut fits = long_message(MESSAGE_MAX - 100);
        let room = MESSAGE_MAX - fits.encoded_len();
        fits = long_message(MESSAGE_MAX - 100 + room);
        assert_eq!(fits.encoded_len(), MESSAGE_MAX);
        assert_eq!(encode_message(&fits), encode(&fits));
    }

    #[test]
    fn a_long_message_comes_out_whole_of_its_fragments() {
        for length in [MESSAGE_MAX, 2 * PIECE_MAX, 1_000_000, 2_000_000] {
            let message = long_message(length);
            let mut assembler = Assembler::default();
            let fragments = fragments(&encode_message(&message));
            assert_eq!(fragments.len(), message.encoded_len().div_ceil(PIECE_MAX));
            let (last, others) = fragments.split_last().unwrap();
            for fragment in others {
                assert_eq!(assembler.push(fragment, 3_000_000), Ok(None));
            }
            let whole = assembler.push(last, 3_000_000).unwrap().unwrap();
            assert_eq!(v1::ClientMessage::decode(whole).unwrap(), message);
            assert_eq!(assembler.held(), 0);
        }
    }

    #[test]
    fn fragments_over_the_limit_are_refused_and_forgotten() {
        let fragment = v1::Fragment { piece: vec![1; 60].into(), last: false };
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(&fragment, 100), Ok(None));
        assert_eq!(assembler.held(), 60);
        assert_eq!(assembler.push(&fragment, 100), Err(TooLong));
        assert_eq!(assembler.held(), 0);
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_is_buffered() {
        let mut deframer = Deframer::default();
        deframer.push(&encode(&sample(100))[..2]);
        assert_eq!(deframer.next(50), Err(TooLong));
    }
}
