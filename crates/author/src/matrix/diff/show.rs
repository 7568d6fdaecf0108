//! The words of a difference.
