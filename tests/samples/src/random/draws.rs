//! Random clusters and changes outside a property test, one after another.
//!
//! The same seed gives the same ones.

use policy::Snapshot;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::{Edit, crowd, edit::upheaval};

/// Draws.
#[derive(Debug)]
pub struct Draws(TestRunner);

impl Draws {
    /// The draws of this seed.
    pub fn new(seed: u64) -> Self {
        let config = Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() };
        Self(TestRunner::new(Config { failure_persistence: None, ..config }))
    }

    /// A random cluster with something to lose.
    pub fn crowd(&mut self) -> Snapshot {
        self.draw(crowd())
    }

    /// A random change of a cluster, moves of addresses included.
    pub fn upheaval(&mut self) -> Edit {
        self.draw(upheaval())
    }

    fn draw<T>(&mut self, strategy: impl Strategy<Value = T>) -> T {
        // These strategies reject nothing for long.
        strategy.new_tree(&mut self.0).expect("a random value").current()
    }
}
