//! What to measure, from the command line.

use anyhow::{Context, Result, bail, ensure};

/// What the program takes.
pub const USAGE: &str = "\
Usage: bench [PART...] [--rounds N] [--table NAME=FILE]... [--plot | --draw]

Parts, all by default:
  changes   a cold start and each kind of change, beside the kernel alone and `nft -f`
  relist    all lists again, unchanged
  proof     the proof of a table
  packets   what a packet and a connection pay, new and established

--rounds N           instead of each part's own number
--table NAME=FILE    one more table for nft(8), for `packets`
--plot               more sizes; keeps the figures and draws docs/pictures
--draw               draws docs/pictures again from the figures that were kept";

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Changes,
    Relist,
    Proof,
    Packets,
}

const PARTS: [(&str, Part); 4] = [
    ("changes", Part::Changes),
    ("relist", Part::Relist),
    ("proof", Part::Proof),
    ("packets", Part::Packets),
];

/// The command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    pub parts: Vec<Part>,
    pub rounds: Option<usize>,
    /// `NAME=FILE`.
    pub tables: Vec<String>,
    pub plot: bool,
    pub redraw: bool,
}

impl Arguments {
    pub fn read(words: &[String]) -> Result<Self> {
        let mut this = Self {
            parts: Vec::new(),
            rounds: None,
            tables: Vec::new(),
            plot: false,
            redraw: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--rounds" => {
                    let rounds = value()?.parse().context("the number of rounds")?;
                    ensure!(rounds > 0, "measure at least once");
                    this.rounds = Some(rounds);
                }
                "--table" => this.tables.push(value()?.clone()),
                "--plot" => this.plot = true,
                "--draw" => this.redraw = true,
                name => match PARTS.iter().find(|(known, _)| *known == name) {
                    Some((_, part)) => this.parts.push(*part),
                    None => bail!("unknown argument `{name}`\n\n{USAGE}"),
                },
            }
        }
        if this.parts.is_empty() {
            this.parts = PARTS.map(|(_, part)| part).to_vec();
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments> {
        Arguments::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn all_parts_are_measured_unless_some_are_named() {
        assert_eq!(read("").unwrap().parts, PARTS.map(|(_, part)| part));
        let some = read("packets --rounds 3 --table a=b changes --plot").unwrap();
        assert_eq!(some.parts, [Part::Packets, Part::Changes]);
        assert_eq!((some.rounds, some.plot, some.redraw), (Some(3), true, false));
        assert_eq!(some.tables, ["a=b"]);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for line in ["package", "--rounds", "--rounds 0", "--rounds some", "--table"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
