//! The matrix as one page that needs no network.

use anyhow::Result;

use crate::Cluster;

pub fn page(cluster: &Cluster, _selection: &impl Sized, _done: &mut dyn FnMut(usize, usize)) -> Result<String> { Ok(String::new()) }
