//! What a shard counts. Plain numbers: the thread that owns the shard publishes them.

/// Counts since the shard was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// UDP packets received.
    pub packets_received: u64,
    /// UDP payload received, in bytes.
    pub bytes_received: u64,
    /// UDP packets sent.
    pub packets_sent: u64,
    /// UDP payload sent, in bytes.
    pub bytes_sent: u64,
    /// Packets received that belong to nothing: noise, or a handshake that was not wanted.
    pub packets_ignored: u64,
    /// Packets received that belong to another shard.
    pub packets_handed_over: u64,
    /// Packets taken from other shards.
    pub packets_taken_over: u64,
    /// Packets that the operating system refused to send.
    pub sends_failed: u64,
    /// Times that a socket's send buffer was full.
    pub sends_stalled: u64,
    /// Stateless resets, for links of an earlier process.
    pub resets_sent: u64,
    /// Handshakes that were finished.
    pub handshakes_finished: u64,
    /// Of those, handshakes of browsers that have a session of WebTransport.
    pub web_transports: u64,
    /// Handshakes that failed or took too long.
    pub handshakes_failed: u64,
    /// Handshakes that were not begun because too many were under way.
    pub handshakes_refused: u64,
    /// Clients that had to show that they receive at their address first.
    pub retries_sent: u64,
    /// Datagrams handed to connections.
    pub datagrams_sent: u64,
    /// Of those, datagrams that pushed out older ones.
    pub datagrams_displaced: u64,
    /// Datagrams too long for the path, or for a peer that takes none.
    pub datagrams_refused: u64,
    /// Other supernodes dialled.
    pub trunks_dialled: u64,
    /// Of those, dials that came to nothing.
    pub trunks_failed: u64,
    /// Links that asked for the bounds of a trunk and got those of a client, because too many had not proven themselves.
    pub trunks_kept_small: u64,
    /// Of the datagrams sent, those on links with the bounds of a trunk.
    pub trunk_datagrams_sent: u64,
    /// Of the datagrams that pushed out older ones, those on such links.
    pub trunk_datagrams_displaced: u64,
}
