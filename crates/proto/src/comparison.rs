//! The comparison code: 60 digits that two people read to each other to be sure of each other's account keys.

use sha2::{Digest, Sha512};

use crate::AccountId;

const LABEL: &[u8] = b"ahoy/1 comparison code";

/// One side's half: iterated, so that a look-alike key costs 5,200 hashes a try and 99 bits of them.
const ROUNDS: usize = 5_200;

/// The code for two accounts: 12 groups of 5 digits, the same on both sides.
pub fn comparison_code(a: (AccountId, &[u8; 32]), b: (AccountId, &[u8; 32])) -> String {
    let mut halves = [half(a.0, a.1), half(b.0, b.1)];
    halves.sort();
    let groups: Vec<String> = halves.into_iter().flatten().collect();
    groups.join(" ")
}

/// Six groups of five digits: each 5 bytes of the last hash, big-endian, modulo 100,000.
fn half(account: AccountId, key: &[u8; 32]) -> [String; 6] {
    let mut hash = Sha512::digest([LABEL, &[0], &account.0, key].concat());
    for _ in 1..ROUNDS {
        hash = Sha512::new().chain_update(hash).chain_update(key).finalize();
    }
    std::array::from_fn(|group| {
        let number = hash[group * 5..][..5].iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        format!("{:05}", number % 100_000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_sixty_digits() {
        let alice = (AccountId([1; 16]), &[2; 32]);
        let bob = (AccountId([3; 16]), &[4; 32]);
        let code = comparison_code(alice, bob);
        assert_eq!(code, comparison_code(bob, alice));
        assert_eq!(code.chars().filter(char::is_ascii_digit).count(), 60);
        assert_ne!(code, comparison_code(alice, (AccountId([3; 16]), &[5; 32])));
    }
}
