//! The text of a network configuration, with the plugin and without it.
//!
//! In: a file's name and text. Out: another text, or none where nothing has to change.
//! Never: another plugin's entry that is changed.

use serde_json::{Value, json};

/// The plugin's name, which is its `type` and its program's name.
pub const NAME: &str = "nftpol-cni";

/// What has to change.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The file's text.
    Text(Vec<u8>),
    /// A list with this name and text takes the place of the file.
    List(String, Vec<u8>),
}

/// Whether a runtime takes a file: a list with plugins, or the configuration of one.
pub fn is_one(name: &str, text: &[u8]) -> bool {
    let Ok(config) = serde_json::from_slice::<Value>(text) else { return false };
    match name.ends_with(".conflist") {
        true => config["plugins"].as_array().is_some_and(|plugins| !plugins.is_empty()),
        false => config["type"].is_string(),
    }
}

/// The file with the plugin at its end.
pub fn chained(name: &str, text: &[u8], without_agent: Option<&str>) -> Change {
    let Ok(mut config) = serde_json::from_slice::<Value>(text) else { return Change::None };
    let mut ours = json!({"type": NAME});
    if let Some(choice) = without_agent {
        ours["withoutAgent"] = choice.into();
    }
    if name.ends_with(".conflist") {
        let Some(plugins) = config["plugins"].as_array_mut() else { return Change::None };
        if plugins.last() == Some(&ours) && plugins.iter().filter(|one| is_ours(one)).count() == 1 {
            return Change::None;
        }
        plugins.retain(|one| !is_ours(one));
        plugins.push(ours);
        return Change::Text(written(&config));
    }
    let list = json!({
        "cniVersion": config["cniVersion"].as_str().unwrap_or("0.3.1"),
        "name": config["name"],
        "plugins": [config, ours],
    });
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    Change::List(format!("{stem}.conflist"), written(&list))
}

/// A list without the plugin; `None` if it is not in it.
pub fn unchained(text: &[u8]) -> Option<Vec<u8>> {
    let mut config: Value = serde_json::from_slice(text).ok()?;
    let plugins = config["plugins"].as_array_mut()?;
    let before = plugins.len();
    plugins.retain(|one| !is_ours(one));
    (plugins.len() != before).then(|| written(&config))
}

fn is_ours(plugin: &Value) -> bool {
    plugin["type"] == NAME
}

fn written(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
