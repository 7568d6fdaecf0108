//! What we send, judged by programs that share no code with us: nftnl's safe
//! API makes the same messages ([`writer`]), mnl reads back what the kernel
//! holds ([`observer`]). They need root, as the other kernel tests.
//!
//! ```text
//! ruleset::Op --+-- nft::inspect::encoded -- bytes --+
//!               |                                    |-- equal?
//!               +-- nftnl ----------------- bytes ---+
//!               |
//!               +-- nft::Kernel::send -- kernel -- mnl -- names, numbers, handles
//! ```

mod message;
mod observer;
mod rules;
mod writer;
