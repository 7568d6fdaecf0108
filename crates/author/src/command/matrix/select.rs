//! What part of a matrix is asked for: `--namespace`, `--between`.

use anyhow::{Result, bail};

use crate::matrix::ends::Unit;
use crate::matrix::names;
use crate::matrix::outside::Outside;
use crate::matrix::table::Matrix;

/// The part.
pub struct Selection {
    between: Option<[String; 2]>,
    namespaces: Vec<String>,
}

impl Selection {
    /// By the options.
    pub fn new(between: Option<&[String]>, focus: Option<&str>) -> Self {
        let between = match between {
            Some([one, other]) => Some([one.clone(), other.clone()]),
            Some(_) | None => None,
        };
        let namespaces = match &between {
            Some(_) => Vec::new(),
            None => focus.map(str::to_owned).into_iter().collect(),
        };
        Self { between, namespaces }
    }

    /// The namespaces that are asked about; empty: all.
    pub fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Whether traffic from one end to another is asked about.
    pub fn shows(&self, from: &Unit, to: &Unit) -> bool {
        if let Some([one, other]) = &self.between {
            return is(from, one) && is(to, other) || is(from, other) && is(to, one);
        }
        let own = |unit: &Unit| {
            unit.namespace().is_some_and(|name| self.namespaces.iter().any(|own| own == name))
        };
        self.namespaces.is_empty() || own(from) || own(to)
    }

    /// Leaves the part of a matrix that is asked about.
    ///
    /// # Errors
    /// What is asked about is not there.
    pub fn narrow(&self, matrix: &mut Matrix) -> Result<()> {
        let units: Vec<Unit> = matrix.ends.iter().map(|end| end.unit.clone()).collect();
        self.check(&units)?;
        let keeps: Vec<bool> = match &self.between {
            None => vec![true; units.len()],
            Some(ends) => units.iter().map(|unit| ends.iter().any(|end| is(unit, end))).collect(),
        };
        matrix.narrow(&keeps, |from, to| self.shows(&units[from], &units[to]));
        Ok(())
    }

    /// Whether what is asked about is there.
    ///
    /// # Errors
    /// It is not. The message has the nearest name.
    pub fn check(&self, units: &[Unit]) -> Result<()> {
        let namespaces = || units.iter().filter_map(Unit::namespace).map(str::to_owned);
        for own in &self.namespaces {
            if !namespaces().any(|one| one == *own) {
                bail!("no pod and no workload is in namespace {own}{}", hint(own, namespaces()));
            }
        }
        for end in self.between.iter().flatten() {
            if !units.iter().any(|unit| is(unit, end)) {
                let known = namespaces().chain(units.iter().map(names::unit));
                bail!("no end is called {end}{}", hint(end, known));
            }
        }
        Ok(())
    }
}

/// Whether an end is what `--between` names.
fn is(unit: &Unit, name: &str) -> bool {
    match unit {
        Unit::Outside(Outside::Internet) => name == "internet",
        Unit::Outside(outside) => name == outside.to_string(),
        Unit::Node(node) => name.strip_prefix("node/").is_some_and(|name| name == node),
        Unit::Kept(address) => name == address.to_string(),
        Unit::Workload(kind, key) => {
            name == key.namespace
                || name == key.to_string()
                || name == format!("{}/{}/{}", key.namespace, kind.to_lowercase(), key.name)
        }
        Unit::Pod(key) => {
            name == key.namespace
                || name == key.to_string()
                || name == format!("{}/pod/{}", key.namespace, key.name)
        }
    }
}

fn hint(name: &str, known: impl Iterator<Item = String>) -> String {
    let mut known: Vec<String> = known.collect();
    known.sort();
    known.dedup();
    match watcher::suggest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    }
}
