//! rtnetlink's numbers.
//!
//! Source: include/uapi/linux/{rtnetlink,if_link,if_addr,neighbour}.h.

/// Kinds of messages (`RTM_*`).
pub(in crate::links) mod rtm {
    pub(in crate::links) const NEWLINK: u16 = libc::RTM_NEWLINK;
    pub(in crate::links) const GETLINK: u16 = libc::RTM_GETLINK;
    pub(in crate::links) const NEWADDR: u16 = libc::RTM_NEWADDR;
    pub(in crate::links) const GETADDR: u16 = libc::RTM_GETADDR;
    pub(in crate::links) const NEWNEIGH: u16 = libc::RTM_NEWNEIGH;
    pub(in crate::links) const GETNEIGH: u16 = libc::RTM_GETNEIGH;
    pub(in crate::links) const NEWROUTE: u16 = libc::RTM_NEWROUTE;
    pub(in crate::links) const GETROUTE: u16 = libc::RTM_GETROUTE;
}

/// Attributes of links (`IFLA_*`).
pub(in crate::links) mod ifla {
    pub(in crate::links) const ADDRESS: u16 = 1;
    pub(in crate::links) const IFNAME: u16 = 3;
    pub(in crate::links) const LINK: u16 = 5;
    pub(in crate::links) const MASTER: u16 = 10;
    pub(in crate::links) const LINKINFO: u16 = 18;
    pub(in crate::links) const EXT_MASK: u16 = 29;
    pub(in crate::links) const LINK_NETNSID: u16 = 37;
    pub(in crate::links) const TARGET_NETNSID: u16 = 46;
    pub(in crate::links) const INFO_KIND: u16 = 1;
    pub(in crate::links) const INFO_DATA: u16 = 2;
    pub(in crate::links) const BR_VLAN_FILTERING: u16 = 7;
    /// RTEXT_FILTER_SKIP_STATS: the kernel does not collect counters.
    pub(in crate::links) const SKIP_STATS: u32 = 1 << 3;
}

/// Attributes of addresses (`IFA_*`).
pub(in crate::links) mod ifa {
    pub(in crate::links) const ADDRESS: u16 = 1;
    pub(in crate::links) const LOCAL: u16 = 2;
    pub(in crate::links) const CACHEINFO: u16 = 6;
    pub(in crate::links) const TARGET_NETNSID: u16 = 10;
}

/// Attributes of neighbours (`NDA_*`).
pub(in crate::links) mod nda {
    pub(in crate::links) const DST: u16 = 1;
    /// What the control plane wrote: NUD_NOARP | NUD_PERMANENT.
    pub(in crate::links) const WRITTEN: u16 = 0x40 | 0x80;
}

/// Attributes of routes (`RTA_*`).
pub(in crate::links) mod rta {
    pub(in crate::links) const OIF: u16 = 4;
    pub(in crate::links) const GATEWAY: u16 = 5;
    pub(in crate::links) const MULTIPATH: u16 = 9;
    pub(in crate::links) const VIA: u16 = 18;
}
