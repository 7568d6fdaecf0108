//! The tables to compare.

use std::fs;

use anyhow::{Context, Result};

use crate::bed::Links;

/// A table as a script for nft(8).
pub struct Table {
    pub name: String,
    pub script: String,
}

/// Accepts established flows. Any policy with connection tracking costs this much.
const FLOOR: &str = "table inet floor {
    chain forward {
        type filter hook forward priority 0
        ct state established,related accept
    }
}";

/// No table, the floor, and those of files, `NAME=FILE`. A name that begins with
/// `routed` or `bridged` is for that network alone.
pub fn tables(links: Links, files: &[String]) -> Result<Vec<Table>> {
    let mut all = vec![
        Table { name: "no table".into(), script: String::new() },
        Table { name: "`ct state` alone".into(), script: FLOOR.into() },
    ];
    for file in files {
        let (name, path) = file.split_once('=').context("a table is NAME=FILE")?;
        let other = match links {
            Links::Routed => "bridged",
            Links::Bridged => "routed",
        };
        if !name.starts_with(other) {
            let script = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
            all.push(Table { name: name.to_owned(), script });
        }
    }
    Ok(all)
}
