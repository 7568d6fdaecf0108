//! Programs that share no code with us check what we send. nftnl's safe API builds
//! the same messages ([`writer`]). mnl reads back what the kernel holds
//! ([`observer`]). These tests need root, like the other kernel tests.
//!
//! ```text
//! ruleset::Op --+-- nft::inspect::encoded -- bytes --+
//!               |                                    |-- equal?
//!               +-- nftnl ----------------- bytes ---+
//!               |
//!               +-- nft::Kernel::send -- kernel -- mnl -- names, numbers, handles
//! ```

mod frames;
mod message;
mod observer;
mod rules;
mod sets;
mod writer;
