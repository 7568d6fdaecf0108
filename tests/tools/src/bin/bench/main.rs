//! What nftpol costs: changes of a cluster, lists that come again, the proof, packets.
//!
//! Prints Markdown tables on stdout and progress on stderr. It sets no limits, because
//! times depend on the machine.

mod arguments;
mod changes;
mod figures;
mod node;
mod packets;
mod pictures;
mod proof;
mod raw;
mod relist;

use anyhow::Result;

use arguments::{Arguments, Part};

/// The allocator of `nftpol`, whose work is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The sizes of tables, in hundreds of pods.
const SIZES: [usize; 2] = [100, 1000];
/// The sizes of pictures.
const MORE_SIZES: [usize; 5] = [10, 30, 100, 300, 1000];
/// Rules of the cluster that is one policy.
const RULES: u16 = 10_000;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        println!("{}", arguments::USAGE);
        return Ok(());
    }
    let arguments = Arguments::read(&words)?;
    match arguments.redraw {
        true => pictures::draw(),
        false => measure(&arguments),
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    let sizes: &[usize] = if arguments.plot { &MORE_SIZES } else { &SIZES };
    let rounds = |usual| arguments.rounds.unwrap_or(usual);
    for part in &arguments.parts {
        match part {
            Part::Changes => {
                let plan = changes::Plan { rounds: rounds(15), sizes, rules: RULES };
                let figures = changes::measure(&plan)?;
                if arguments.plot {
                    pictures::keep_changes(&figures)?;
                }
            }
            Part::Relist => relist::measure(rounds(9), &SIZES)?,
            Part::Proof => proof::measure(rounds(5), SIZES[0], RULES)?,
            Part::Packets => {
                let (rounds, files) = (rounds(30), &arguments.tables);
                let plan = packets::Plan { rounds, sizes: &packets::SIZES, files };
                let figures = packets::measure(&plan)?;
                if arguments.plot {
                    pictures::keep_packets(&figures)?;
                }
            }
        }
    }
    if arguments.plot { pictures::draw() } else { Ok(()) }
}
