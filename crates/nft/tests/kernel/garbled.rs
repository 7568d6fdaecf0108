//! Messages about frames and interfaces that no kernel sends.

use crate::binding::{BOTH, everything};
use crate::common::creation;

/// The messages of a whole table, with each byte changed. The fuzzer's corpus has no
/// such rules.
#[test]
fn messages_that_are_garbled_are_read_or_refused() {
    const CHANGES: [u8; 4] = [0x01, 0x08, 0x80, 0xff];
    for (all, _) in BOTH.map(everything) {
        let bytes = nft::inspect::encoded(&all.id(), &creation(&all)).expect("a batch");
        nft::inspect::read_any(&bytes);
        let mut rest = bytes.as_slice();
        while let Some(length) = rest.first_chunk().map(|one| u32::from_ne_bytes(*one) as usize) {
            let (message, behind) = rest.split_at(length.next_multiple_of(4));
            for at in 0..message.len() {
                for change in CHANGES {
                    let mut garbled = message.to_vec();
                    garbled[at] ^= change;
                    nft::inspect::read_any(&garbled);
                }
            }
            rest = behind;
        }
    }
}
