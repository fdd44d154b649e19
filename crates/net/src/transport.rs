//! Transport parameters of both ends: small windows, no MTU discovery, voice first.

use std::{sync::Arc, time::Duration};

use ahoy_proto::limits::{IDLE_TIMEOUT, KEEPALIVE};
use quinn_proto::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};

use crate::{floor::FloorConfig, limits};

/// For the supernode. It opens the one stream that is used; the peer's allowances are what HTTP/3 needs as well.
pub(crate) fn server() -> Arc<TransportConfig> {
    let mut config = common();
    config.max_concurrent_bidi_streams(VarInt::from_u32(4)).max_concurrent_uni_streams(VarInt::from_u32(3));
    Arc::new(config)
}

/// For whoever dials: keeps the link alive, and takes the one stream that the supernode opens.
pub(crate) fn client(keepalive: Option<Duration>) -> Arc<TransportConfig> {
    let mut config = common();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .keep_alive_interval(Some(keepalive.unwrap_or(KEEPALIVE)));
    Arc::new(config)
}

fn common() -> TransportConfig {
    let mut config = TransportConfig::default();
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).expect("a minute is far below QUIC's largest timeout");
    config
        .max_idle_timeout(Some(idle))
        .stream_receive_window(VarInt::from_u32(limits::RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(limits::RECEIVE_WINDOW))
        .send_window(limits::SEND_WINDOW)
        .initial_rtt(limits::INITIAL_RTT)
        .mtu_discovery_config(None)
        .allow_spin(false)
        .datagram_receive_buffer_size(Some(limits::DATAGRAM_RECEIVE_BUFFER))
        .datagram_send_buffer_size(limits::DATAGRAM_SEND_BUFFER)
        .ack_frequency_config(Some(acknowledgements()))
        .congestion_controller_factory(Arc::new(FloorConfig::new()));
    config
}

/// What each end asks of the other: acknowledgements that can wait for a packet of voice, every 20 ms, to ride on. By default
/// every second packet, and every one after a loss, brings a packet of its own: 7 kbit/s at 20 % loss.
fn acknowledgements() -> AckFrequencyConfig {
    let mut config = AckFrequencyConfig::default();
    config
        .ack_eliciting_threshold(VarInt::from_u32(limits::ACK_PACKETS_MAX))
        .max_ack_delay(Some(limits::ACK_DELAY_MAX))
        .reordering_threshold(VarInt::from_u32(0));
    config
}
