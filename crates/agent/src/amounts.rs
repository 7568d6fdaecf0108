//! `SETS,RULES,ELEMENTS` of the command line.

use std::fmt;
use std::str::FromStr;

use compiler::price::Amount;

/// An amount of what a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts(pub Amount);

impl FromStr for Amounts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([sets, rules, elements]) => {
                Ok(Self(Amount { sets: *sets, rules: *rules, elements: *elements }))
            }
            _ => Err("three numbers are needed: SETS,RULES,ELEMENTS".to_owned()),
        }
    }
}

impl From<Amount> for Amounts {
    fn from(amount: Amount) -> Self {
        Self(amount)
    }
}

impl fmt::Display for Amounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Amount { sets, rules, elements } = self.0;
        write!(f, "{sets},{rules},{elements}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_numbers_are_read_and_written() {
        let amounts: Amounts = "5,10,200".parse().unwrap();
        assert_eq!(amounts.0, Amount { sets: 5, rules: 10, elements: 200 });
        assert_eq!(amounts.to_string(), "5,10,200");
        for wrong in ["", "5", "5,10", "5,10,200,1", "5,ten,200", "-1,2,3"] {
            assert!(wrong.parse::<Amounts>().is_err(), "{wrong}");
        }
    }
}
