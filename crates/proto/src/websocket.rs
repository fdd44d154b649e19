//! How a link travels in the messages of a WebSocket (docs/protocol.md, section 4).

use bytes::Bytes;

use crate::v1::ErrorCode;

/// Where the HTTP side of a supernode's port takes such a link.
pub const PATH: &str = "/session";

/// The subprotocol that both sides name.
pub const SUBPROTOCOL: &str = "ahoy.1";

/// Longest piece of the stream in one message, in bytes: voice waits behind no more than that, a quarter of a second at 512 kbit/s.
pub const PIECE_MAX: usize = 16 * 1024;

/// Longest message: the tag and a piece.
pub const MESSAGE_MAX: usize = 1 + PIECE_MAX;

/// Codes of the protocol begin here among the codes of a close; RFC 6455 leaves 4000 to 4999 to applications.
pub const CLOSE_CODES: u16 = 4_000;

const STREAM: u8 = 0;
const DATAGRAM: u8 = 1;

/// What one message holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// The next bytes of the ordered stream.
    Bytes(Bytes),
    /// A datagram.
    Datagram(Bytes),
}

impl Carried {
    /// Of a binary message; `None` when it is none of ours.
    pub fn decode(mut message: Bytes) -> Option<Self> {
        if message.is_empty() || message.len() > MESSAGE_MAX {
            return None;
        }
        match message.split_to(1)[0] {
            STREAM => Some(Self::Bytes(message)),
            DATAGRAM => Some(Self::Datagram(message)),
            _ => None,
        }
    }

    /// As a binary message.
    pub fn encode(&self) -> Bytes {
        let (tag, payload) = match self {
            Self::Bytes(bytes) => (STREAM, bytes),
            Self::Datagram(bytes) => (DATAGRAM, bytes),
        };
        [&[tag], &payload[..]].concat().into()
    }
}

/// The code of a close that says this.
pub fn close_code(code: ErrorCode) -> u16 {
    u16::try_from(code as i32).map_or(CLOSE_CODES, |code| CLOSE_CODES + code)
}

/// What a close says; `None` when it says nothing of ours.
pub fn error_code(close: u16) -> Option<ErrorCode> {
    ErrorCode::try_from(i32::from(close.checked_sub(CLOSE_CODES)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_and_datagrams_are_told_apart_by_the_first_byte() {
        for carried in [Carried::Bytes(vec![1, 2].into()), Carried::Datagram(vec![3].into())] {
            assert_eq!(Carried::decode(carried.encode()), Some(carried));
        }
        assert_eq!(Carried::Datagram(Bytes::new()).encode(), [1][..], "a ping");
        assert_eq!(Carried::Bytes(vec![7, 8].into()).encode(), [0, 7, 8][..]);
    }

    #[test]
    fn what_is_empty_too_long_or_unknown_is_no_message() {
        for message in [vec![], vec![2, 1], vec![0; MESSAGE_MAX + 1]] {
            assert_eq!(Carried::decode(message.into()), None);
        }
        assert!(Carried::decode(vec![0; MESSAGE_MAX].into()).is_some());
    }

    #[test]
    fn codes_of_a_close_are_the_protocols_from_4000_on() {
        assert_eq!(close_code(ErrorCode::ShuttingDown), 4_000 + ErrorCode::ShuttingDown as u16);
        assert_eq!(error_code(close_code(ErrorCode::SlowReader)), Some(ErrorCode::SlowReader));
        assert_eq!([error_code(1_006), error_code(4_999)], [None, None]);
    }
}
