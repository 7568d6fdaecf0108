//! `nftpol-cni`: see the library beside it.
//!
//! In: `CNI_*` variables, a configuration on standard input. Out: a result or an error on
//! standard output. Never: an output that is no JSON. Without a command of CNI it installs
//! itself: see [`install`].

mod install;

use std::io::{Read, Write};
use std::process::ExitCode;

use cni::error::PluginError;
use cni::plugin::{Call, run};
use install::Arguments;
use serde_json::Value;

/// No configuration is longer.
const LONGEST: u64 = 4 << 20;

fn main() -> ExitCode {
    let call = Call::of_environment();
    if call.command.is_empty() {
        return installs();
    }
    let mut input = Vec::new();
    let read = std::io::stdin().lock().take(LONGEST).read_to_end(&mut input);
    let result = match read {
        Ok(_) => run(&call, &input),
        Err(error) => Err(PluginError::Input(error)),
    };
    match result {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(result)) => print(&result, ExitCode::SUCCESS),
        Err(error) => print(&error.json(&version(&input)), ExitCode::FAILURE),
    }
}

/// Without a runtime: installs or removes the plugin.
fn installs() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = Arguments::parse(&words).map_err(|error| {
        format!(
            "{error}\nnftpol-cni {}: a CNI plugin, which a container runtime starts with \
             CNI_COMMAND. By hand: nftpol-cni install|remove [--conf-dir DIR] [--bin-dir DIR] \
             [--watch]; install: [--without-agent fail|continue]; remove: [--cache-dir DIR] \
             [--keep-program]",
            env!("CARGO_PKG_VERSION")
        )
    });
    match done.and_then(|arguments| arguments.run().map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nftpol-cni: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The version in which an error is told.
fn version(input: &[u8]) -> String {
    let config = serde_json::from_slice::<Value>(input).unwrap_or_default();
    config["cniVersion"].as_str().unwrap_or("1.0.0").to_owned()
}

fn print(value: &Value, code: ExitCode) -> ExitCode {
    match writeln!(std::io::stdout().lock(), "{value}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
