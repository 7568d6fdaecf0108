//! What agents tell of the cluster as it is: packets that they drop, and whether they
//! enforce.
//!
//! In: lines of JSON from agents. Out: the same as values, as text for people, and as a
//! policy that would allow what was denied.
//! Never: I/O. Trust in a text of a packet: it is shown without control characters.

pub mod protocol;
pub mod secrets;
pub mod status;
pub mod suggest;
pub mod text;
