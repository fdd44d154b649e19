//! Transport parameters of both ends: small windows, no MTU discovery, voice first. Trunks carry many calls and have larger ones.

use std::{sync::Arc, time::Duration};

use ahoy_proto::limits::{IDLE_TIMEOUT, KEEPALIVE};
use quinn_proto::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};

use crate::{floor::FloorConfig, limits, shard::h3};

/// For the supernode. It opens the one stream that is used; the peer's allowances are what HTTP/3 needs, and each costs memory. A program that
/// uses one is told that it should not.
pub(crate) fn server() -> Arc<TransportConfig> {
    let mut config = common();
    server_streams(&mut config);
    Arc::new(config)
}

/// For the supernode that accepts what asks for the bounds of a trunk.
pub(crate) fn trunk_server() -> Arc<TransportConfig> {
    let mut config = trunk();
    server_streams(&mut config);
    Arc::new(config)
}

/// For the supernode that dials another one.
pub(crate) fn trunk_client() -> Arc<TransportConfig> {
    let mut config = trunk();
    client_streams(&mut config);
    Arc::new(config)
}

/// For whoever dials: keeps the link alive, and takes the one stream that the supernode opens.
pub(crate) fn client(keepalive: Option<Duration>) -> Arc<TransportConfig> {
    let mut config = common();
    client_streams(&mut config);
    config.keep_alive_interval(Some(keepalive.unwrap_or(KEEPALIVE)));
    Arc::new(config)
}

fn server_streams(config: &mut TransportConfig) {
    config.max_concurrent_bidi_streams(VarInt::from_u32(1)).max_concurrent_uni_streams(VarInt::from_u32(h3::STREAMS));
}

fn client_streams(config: &mut TransportConfig) {
    config.max_concurrent_bidi_streams(VarInt::from_u32(1)).max_concurrent_uni_streams(VarInt::from_u32(0));
}

/// Both ends keep a trunk alive: the idle timer starts anew with the first packet that is sent after one was received, so an
/// end that is silent itself would notice a dead peer only that much later. MTU discovery saves a quarter of the packets and no
/// processor time that can be measured, because they leave in batches, so it stays off as for clients.
fn trunk() -> TransportConfig {
    let mut config = common();
    config
        .max_idle_timeout(Some(idle_timeout(limits::TRUNK_IDLE_TIMEOUT)))
        .keep_alive_interval(Some(limits::TRUNK_KEEPALIVE))
        .stream_receive_window(VarInt::from_u32(limits::TRUNK_RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(limits::TRUNK_RECEIVE_WINDOW))
        .send_window(limits::TRUNK_SEND_WINDOW)
        .datagram_receive_buffer_size(Some(limits::TRUNK_DATAGRAM_RECEIVE_BUFFER))
        .datagram_send_buffer_size(limits::TRUNK_DATAGRAM_SEND_BUFFER)
        .congestion_controller_factory(Arc::new(FloorConfig::<{ limits::TRUNK_WINDOW_FLOOR }>::new()));
    config
}

fn idle_timeout(timeout: Duration) -> IdleTimeout {
    IdleTimeout::try_from(timeout).expect("a minute is far below QUIC's largest timeout")
}

fn common() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(idle_timeout(IDLE_TIMEOUT)))
        .stream_receive_window(VarInt::from_u32(limits::RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(limits::RECEIVE_WINDOW))
        .send_window(limits::SEND_WINDOW)
        .initial_rtt(limits::INITIAL_RTT)
        .mtu_discovery_config(None)
        .allow_spin(false)
        .datagram_receive_buffer_size(Some(limits::DATAGRAM_RECEIVE_BUFFER))
        .datagram_send_buffer_size(limits::DATAGRAM_SEND_BUFFER)
        .ack_frequency_config(Some(acknowledgements()))
        .congestion_controller_factory(Arc::new(FloorConfig::<{ limits::WINDOW_FLOOR }>::new()));
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
