//! The kernel's number of a table's family.

use ruleset::TableFamily;

/// NFPROTO_* (include/uapi/linux/netfilter.h).
pub(crate) const fn nfproto(family: TableFamily) -> u8 {
    match family {
        TableFamily::Inet => libc::NFPROTO_INET as u8,
        TableFamily::Bridge => libc::NFPROTO_BRIDGE as u8,
    }
}

/// The family with this number. `None` if we make no tables of it.
pub(crate) fn of_nfproto(number: u8) -> Option<TableFamily> {
    [TableFamily::Inet, TableFamily::Bridge].into_iter().find(|one| nfproto(*one) == number)
}
