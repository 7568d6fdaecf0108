//! The kernel's registers: their numbers and their order.

/// A register, identified by the first of its 32-bit words, 0 to 15. The kernel's
/// numbers 1 to 4 mean four words each, and those from 8 on one word each (`enum
/// nft_registers`, include/uapi/linux/netfilter/nf_tables.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Register(u32);

impl Register {
    const WORDS: u32 = (libc::NFT_REG_SIZE / libc::NFT_REG32_SIZE) as u32;
    const WIDE: u32 = libc::NFT_REG_1 as u32;
    const NARROW: u32 = libc::NFT_REG32_00 as u32;
    const LAST_NARROW: u32 = libc::NFT_REG32_15 as u32;

    /// The first register.
    pub(crate) const FIRST: Self = Self(0);

    /// The next register, if this one holds this many bytes.
    pub(crate) const fn after(self, bytes: u32) -> Self {
        Self(self.0 + bytes.div_ceil(libc::NFT_REG32_SIZE as u32))
    }

    /// The kernel's number. On a boundary of four words it is that of the wide
    /// register, as nft and the kernel write it.
    pub(crate) const fn number(self) -> u32 {
        if self.0.is_multiple_of(Self::WORDS) {
            Self::WIDE + self.0 / Self::WORDS
        } else {
            Self::NARROW + self.0
        }
    }

    /// The register with this number of the kernel.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        match number {
            Self::WIDE..=4 => Some(Self((number - Self::WIDE) * Self::WORDS)),
            Self::NARROW..=Self::LAST_NARROW => Some(Self(number - Self::NARROW)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(Register::FIRST.number(), 1);
        assert_eq!(Register::FIRST.after(4).number(), 9); // NFT_REG32_01
        assert_eq!(Register::FIRST.after(2).number(), 9);
        assert_eq!(Register::FIRST.after(16).number(), 2); // NFT_REG_2
        assert_eq!(Register::FIRST.after(16).after(16).number(), 3);
        for number in [1, 2, 3, 4, 9, 10, 11, 13, 23] {
            assert_eq!(Register::from_number(number).map(Register::number), Some(number));
        }
        assert_eq!(Register::from_number(8), Some(Register::FIRST)); // one word of NFT_REG_1
        for number in [0, 5, 6, 7, 24, u32::MAX] {
            assert_eq!(Register::from_number(number), None);
        }
    }
}
