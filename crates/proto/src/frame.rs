//! Length-delimited messages on an ordered stream: a protobuf varint of the length, then the message.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

/// A message whose announced length is over the limit in force, or a length that is no varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is longer than the limit in force")]
pub struct TooLong;

/// A message as it stands on the stream.
pub fn encode(message: &impl Message) -> Bytes {
    message.encode_length_delimited_to_vec().into()
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
    use crate::v1;

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

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_is_buffered() {
        let mut deframer = Deframer::default();
        deframer.push(&encode(&sample(100))[..2]);
        assert_eq!(deframer.next(50), Err(TooLong));
    }
}
