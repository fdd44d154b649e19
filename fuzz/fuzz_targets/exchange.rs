//! Any bytes on the links of an exchange, as stream and as datagrams, before proof.
#![no_main]

use std::time::{Duration, Instant};

use ahoy_core::{Exchange, ExchangeConfig, LinkId, Now, Output, ShardId};
use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::{NetworkId, SupernodeId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|noise: &[u8]| {
    let config = ExchangeConfig {
        network: NetworkId([1; 16]),
        supernode: SupernodeId([2; 16]),
        shard: ShardId(0),
        shards: 1,
        call_token_key: CallTokenKey::new([3; 32]),
        minimum_version: 1,
        links_max: 4,
        half_open_max: 4,
        calls_max: 4,
    };
    let mut exchange = Exchange::new(config, [4; 32]);
    let mut now = Now { instant: Instant::now(), unix_ms: 1_800_000_000_000 };
    for (index, piece) in noise.chunks(33).enumerate() {
        let link = LinkId(index as u64 % 5);
        if index < 5 {
            exchange.handle_link_up(link, None, now);
        }
        exchange.handle_bytes(link, piece, now);
        let _ = exchange.forward(link, piece, now);
        now.instant += Duration::from_millis(100);
        exchange.handle_timeout(now);
        while !matches!(exchange.poll_output(), Output::Idle { .. }) {}
    }
});
