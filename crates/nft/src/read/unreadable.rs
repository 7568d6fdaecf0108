//! Why a rule of the kernel cannot be expressed as a [`ruleset::Rule`].

/// The reason in words. It becomes the comment of the rule's stand-in.
pub(crate) type Unreadable = String;
