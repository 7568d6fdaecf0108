//! Pods that were started with a plugin.
//!
//! In: the folder where libcni keeps what it did. Out: how many attachments name the plugin
//! in the configuration that they were made with. Never: a change there.
//!
//! libcni keeps a file for each attachment, `results/NETWORK-CONTAINER-INTERFACE`, until its
//! DEL succeeded: JSON with the configuration as base64 in `config` (`cacheAdd`,
//! libcni/api.go, CNI 1.1; of `kind` `cniCacheV1`). CRI-O passes that configuration to DEL
//! (ocicni, `GetNetworkListCachedConfig`), containerd the present one.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

/// The folder in libcni's.
const RESULTS: &str = "results";

/// How many attachments name the plugin. None, where the folder is not there: then no
/// runtime of this node keeps any.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn count(cache: &Path, plugin: &str) -> io::Result<usize> {
    let entries = match fs::read_dir(cache.join(RESULTS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut found = 0;
    for entry in entries {
        // One that goes meanwhile was ended by DEL.
        let Ok(text) = fs::read(entry?.path()) else { continue };
        found += usize::from(names(&text, plugin));
    }
    Ok(found)
}

/// Whether a cached attachment names the plugin. One that cannot be read does not.
fn names(text: &[u8], plugin: &str) -> bool {
    let Ok(cached) = serde_json::from_slice::<Value>(text) else { return false };
    let Some(config) = cached["config"].as_str().and_then(from_base64) else { return false };
    let Ok(config) = serde_json::from_slice::<Value>(&config) else { return false };
    let mut plugins = config["plugins"].as_array().into_iter().flatten();
    plugins.any(|one| one["type"] == plugin)
}

/// RFC 4648, 4, with padding, as Go's encoding/json writes bytes. `None` if it is not that.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').bytes().map(|byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let number = group.iter().fold(0_u32, |sum, digit| (sum << 6) | u32::from(*digit));
        let number = number << (6 * (4 - group.len()));
        let [_, three @ ..] = number.to_be_bytes();
        bytes.extend(three.iter().take(group.len() * 3 / 4));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_each_padding() {
        // RFC 4648, 10.
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(from_base64(text).as_deref(), Some(plain.as_bytes()), "{text}");
        }
        assert_eq!(from_base64("Z m8"), None);
    }

    #[test]
    fn attachments_that_name_the_plugin_are_counted() {
        let folder = std::env::temp_dir().join(format!("nftpol-cni-cache-{}", std::process::id()));
        assert_eq!(count(&folder, "nftpol-cni").unwrap(), 0, "no runtime keeps any");
        fs::create_dir_all(folder.join(RESULTS)).unwrap();
        // {"name":"pods","plugins":[{"type":"bridge"},{"type":"nftpol-cni"}]}
        let ours = "eyJuYW1lIjoicG9kcyIsInBsdWdpbnMiOlt7InR5cGUiOiJicmlkZ2UifSx7InR5cGUiOiJu\
                    ZnRwb2wtY25pIn1dfQ==";
        // {"plugins":[{"type":"bridge"}]}
        let others = "eyJwbHVnaW5zIjpbeyJ0eXBlIjoiYnJpZGdlIn1dfQ==";
        for (name, text) in [
            ("pods-a-eth0", format!(r#"{{"kind":"cniCacheV1","config":"{ours}"}}"#)),
            ("pods-b-eth0", format!(r#"{{"kind":"cniCacheV1","config":"{others}"}}"#)),
            ("pods-c-eth0", "{".to_owned()),
            ("pods-d-eth0", r#"{"config": 7}"#.to_owned()),
        ] {
            fs::write(folder.join(RESULTS).join(name), text).unwrap();
        }
        assert_eq!(count(&folder, "nftpol-cni").unwrap(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
