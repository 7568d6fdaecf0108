//! What a case expects, as a person wrote it into the comments of the file.
//!
//! ```text
//! #: one  *         a/server  none            on network one nobody reaches the server,
//! #: one  a/client  a/server  tcp/5555  v6    but the client, at one port, by IPv6
//! ```
//!
//! A later line outdoes an earlier one. What no line is about passes.

use anyhow::{Context, Result, bail, ensure};
use netbed::probe::Knock;

use crate::stage::{KNOCKS, NETWORKS};

/// Lines that begin so are read. The first of them names the columns.
const MARK: &str = "#: ";
const COLUMNS: &str = "network from to passes";

/// Who reaches whom.
#[derive(Debug, Default)]
pub struct Expected(Vec<Line>);

#[derive(Debug)]
struct Line {
    network: String,
    from: String,
    to: String,
    passes: Vec<Knock>,
    v6: Option<bool>,
}

impl Expected {
    pub fn read(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(MARK));
        let columns: Vec<&str> = lines.next().context("no table")?.split_whitespace().collect();
        ensure!(columns.join(" ") == COLUMNS, "the table begins with `{COLUMNS}`");
        lines
            .map(|line| Line::read(line).with_context(|| line.to_owned()))
            .collect::<Result<_>>()
            .map(Self)
    }

    pub fn passes(&self, network: &str, from: &str, to: &str, knock: Knock, v6: bool) -> bool {
        let is = |written: &str, name: &str| written == "*" || written == name;
        let mut lines = self.0.iter().rev();
        let line = lines.find(|line| {
            line.network == network
                && is(&line.from, from)
                && is(&line.to, to)
                && line.v6.is_none_or(|only| only == v6)
        });
        line.is_none_or(|line| line.passes.contains(&knock))
    }
}

impl Line {
    fn read(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (network, from, to, passes, v6) = match *words {
            [network, from, to, passes] => (network, from, to, passes, None),
            [network, from, to, passes, "v4"] => (network, from, to, passes, Some(false)),
            [network, from, to, passes, "v6"] => (network, from, to, passes, Some(true)),
            _ => bail!("network, from, to, what passes, v4 or v6 or nothing"),
        };
        ensure!(NETWORKS.iter().any(|one| one.short == network), "no network {network}");
        let passes = match passes {
            "all" => KNOCKS.to_vec(),
            "none" => Vec::new(),
            list => list.split(',').map(knock).collect::<Result<_>>()?,
        };
        let [network, from, to] = [network, from, to].map(str::to_owned);
        Ok(Self { network, from, to, passes, v6 })
    }
}

fn knock(word: &str) -> Result<Knock> {
    let (kind, port) = word.split_once('/').unwrap_or((word, "0"));
    let port = port.parse().context("a port")?;
    let knock = match kind {
        "tcp" => Knock::Tcp(port),
        "udp" => Knock::Udp(port),
        "icmp" => Knock::Icmp,
        _ => bail!("{word} is not tried"),
    };
    ensure!(KNOCKS.contains(&knock), "{word} is not tried");
    Ok(knock)
}
