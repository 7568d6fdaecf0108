//! Connects two namespaces with a veth pair. Both ends are up and have neither
//! addresses nor routes.

use anyhow::Result;

use super::Namespace;

/// A veth pair with one end in each namespace, both ends up. Duplicate
/// address detection is off, so that IPv6 addresses work at once.
///
/// # Errors
/// When a name is taken or too long (15 characters at most).
pub fn veth(one: (&Namespace, &str), other: (&Namespace, &str)) -> Result<()> {
    let (near, near_name) = one;
    let (far, far_name) = other;
    for namespace in [near, far] {
        namespace.sysctl("ipv6.conf.default.accept_dad", "0")?;
    }
    near.ip(&format!(
        "link add {near_name} type veth peer name {far_name} netns {}\nlink set {near_name} up",
        far.name()
    ))?;
    far.ip(&format!("link set {far_name} up"))
}
