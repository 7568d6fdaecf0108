//! The option that says what policies do that say nothing of it.

use clap::ValueEnum;
use policy::Mode;

/// `--mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ModeOption {
    /// What they deny is dropped.
    #[default]
    Enforce,
    /// What they would deny is logged and counted, and nothing is dropped.
    Audit,
}

impl From<ModeOption> for Mode {
    fn from(option: ModeOption) -> Self {
        match option {
            ModeOption::Enforce => Self::Enforce,
            ModeOption::Audit => Self::Audit,
        }
    }
}
