//! What others' installers failed at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Instant;

use serde_json::{Value, json};

use super::*;

struct Folders(PathBuf);

impl Folders {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nftpol-cni-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        for folder in ["conf", "bin"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        Self(path)
    }

    fn conf(&self) -> PathBuf {
        self.0.join("conf")
    }

    fn put(&self, name: &str, value: &Value) {
        fs::write(self.conf().join(name), value.to_string()).unwrap();
    }

    /// The types of the plugins in the configuration that a runtime takes.
    fn taken(&self) -> String {
        let Some((name, text)) = first(&self.conf()).unwrap() else { return "nothing".to_owned() };
        let config: Value = serde_json::from_slice(&text).unwrap();
        let types = config["plugins"].as_array().map_or_else(
            || vec![config["type"].as_str().unwrap_or_default().to_owned()],
            |all| {
                all.iter().map(|one| one["type"].as_str().unwrap_or_default().to_owned()).collect()
            },
        );
        format!("{name}: {}", types.join(" "))
    }

    fn arguments(&self, command: &str) -> Arguments {
        let (conf, bin) = (self.conf(), self.0.join("bin"));
        let (conf, bin) = (conf.to_str().unwrap(), bin.to_str().unwrap());
        let words = [command, "--conf-dir", conf, "--bin-dir", bin];
        Arguments::parse(&words.map(str::to_owned)).unwrap()
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn list(kind: &str) -> Value {
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": kind, "later": [1, 2]},
        {"type": "portmap", "capabilities": {"portMappings": true}}]})
}

#[test]
fn the_first_of_two_lists_gets_the_plugin_and_the_other_stays() {
    let folders = Folders::new("two");
    folders.put("10-flannel.conflist", &list("flannel"));
    folders.put("87-podman.conflist", &list("bridge"));
    let other = fs::read(folders.conf().join("87-podman.conflist")).unwrap();
    let install = folders.arguments("install");
    install.run().unwrap();
    assert_eq!(folders.taken(), "10-flannel.conflist: flannel portmap nftpol-cni");
    let first = fs::read(folders.conf().join("10-flannel.conflist")).unwrap();
    install.run().unwrap();
    assert_eq!(fs::read(folders.conf().join("10-flannel.conflist")).unwrap(), first, "twice");
    assert_eq!(fs::read(folders.conf().join("87-podman.conflist")).unwrap(), other);
    let mut expected = list("flannel");
    expected["plugins"].as_array_mut().unwrap().push(json!({"type": NAME}));
    assert_eq!(serde_json::from_slice::<Value>(&first).unwrap(), expected, "all fields stay");
    // A file that no runtime can read is not the first.
    fs::write(folders.conf().join("00-broken.conflist"), "{").unwrap();
    fs::write(folders.conf().join("05-notes.txt"), "no configuration").unwrap();
    assert_eq!(folders.taken(), "10-flannel.conflist: flannel portmap nftpol-cni");
    // Another network comes before it.
    folders.put("05-other.conflist", &list("ptp"));
    install.run().unwrap();
    assert_eq!(folders.taken(), "05-other.conflist: ptp portmap nftpol-cni");
    folders.arguments("remove").run().unwrap();
    assert_eq!(folders.taken(), "05-other.conflist: ptp portmap");
    let left = fs::read(folders.conf().join("10-flannel.conflist")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&left).unwrap(), list("flannel"));
    assert!(!folders.0.join("bin").join(NAME).exists());
}

#[test]
fn a_bare_configuration_becomes_a_list_and_comes_back() {
    let folders = Folders::new("bare");
    let bare = json!({"cniVersion": "0.4.0", "name": "pods", "type": "bridge", "ipam": {"a": 1}});
    folders.put("10-bridge.conf", &bare);
    assert_eq!(folders.taken(), "10-bridge.conf: bridge");
    folders.arguments("install").run().unwrap();
    assert_eq!(folders.taken(), "10-bridge.conflist: bridge nftpol-cni");
    // Its owner writes it again: it is taken again, and replaced again.
    folders.put("10-bridge.conf", &bare);
    assert_eq!(folders.taken(), "10-bridge.conf: bridge");
    folders.arguments("install").run().unwrap();
    assert_eq!(folders.taken(), "10-bridge.conflist: bridge nftpol-cni");
    folders.arguments("remove").run().unwrap();
    assert_eq!(folders.taken(), "10-bridge.conf: bridge");
    let names = names(&folders.conf()).unwrap();
    assert_eq!(names, ["10-bridge.conf"], "nothing else is left");
}

#[test]
fn what_is_told_later_takes_the_place_of_what_was_told() {
    let folders = Folders::new("options");
    folders.put("10-a.conflist", &list("bridge"));
    let words = ["install", "--without-agent", "continue"].map(str::to_owned);
    let choice = Arguments::parse(&words).unwrap().without_agent;
    chain(&folders.conf(), choice.as_deref()).unwrap();
    let text = fs::read_to_string(folders.conf().join("10-a.conflist")).unwrap();
    assert!(text.contains("\"withoutAgent\": \"continue\""), "{text}");
    chain(&folders.conf(), None).unwrap();
    let text = fs::read_to_string(folders.conf().join("10-a.conflist")).unwrap();
    assert_eq!((text.matches(NAME).count(), text.contains("withoutAgent")), (1, false), "{text}");
    for wrong in
        [&["instal"][..], &["install", "--bin-dir"], &["install", "--without-agent", "open"]]
    {
        let words: Vec<String> = wrong.iter().map(|word| (*word).to_owned()).collect();
        assert!(Arguments::parse(&words).is_err(), "{wrong:?}");
    }
}

/// A runtime that reads all the time finds a whole configuration each time, and the plugin
/// is back soon after each of a thousand rewrites.
#[test]
fn a_list_that_is_rewritten_a_thousand_times_is_never_half_and_gets_the_plugin_back() {
    let folders = Folders::new("rewritten");
    let replace = || {
        let other = folders.conf().join(".primary");
        fs::write(&other, list("flannel").to_string()).unwrap();
        fs::rename(&other, folders.conf().join("10-flannel.conflist")).unwrap();
    };
    replace();
    let stop = AtomicBool::new(false);
    let mut slowest = Duration::ZERO;
    scope(|scope| {
        scope.spawn(|| {
            let (install, mut seen) = (folders.arguments("install"), Seen::default());
            while !stop.load(Ordering::Relaxed) {
                install.look(&mut seen, b"program").unwrap();
                sleep(Duration::from_micros(200));
            }
        });
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                let taken = folders.taken();
                assert!(taken.starts_with("10-flannel.conflist: flannel portmap"), "{taken}");
                reads += 1;
            }
            reads
        });
        for _ in 0..1000 {
            replace();
            let start = Instant::now();
            while !folders.taken().ends_with(NAME) {
                assert!(start.elapsed() < Duration::from_secs(20), "it does not come back");
                std::thread::yield_now();
            }
            slowest = slowest.max(start.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 100);
    });
    println!("back after {} ms at most", slowest.as_millis());
}
