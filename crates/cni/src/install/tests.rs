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
        let cache = self.0.join("cache");
        let cache = cache.to_str().unwrap();
        let words = [command, "--conf-dir", conf, "--bin-dir", bin, "--cache-dir", cache];
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
    let (mut slowest, mut slow) = (Duration::ZERO, 0);
    scope(|scope| {
        scope.spawn(|| folders.watch(&stop));
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
            let took = soon(|| folders.taken().ends_with(NAME));
            slowest = slowest.max(took);
            slow += usize::from(took > changes::SLOW / 2);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 100);
    });
    println!("back after {} ms at most", slowest.as_millis());
    assert!(slow < 20, "{slow} of 1000 were not told by the kernel, but seen at a later look");
}

/// How long it takes until something is so.
fn soon(is: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never is");
        std::thread::yield_now();
    }
    start.elapsed()
}

impl Folders {
    /// The installer's loop, until it shall stop.
    fn watch(&self, stop: &AtomicBool) {
        let (install, mut said) = (self.arguments("install"), Said::default());
        let mut changes = Changes::of(&[&self.conf(), &self.0.join("bin")]);
        while !stop.load(Ordering::Relaxed) {
            install.look(&mut said, b"program").unwrap();
            changes.wait().unwrap();
        }
    }

    fn program(&self) -> PathBuf {
        self.0.join("bin").join(NAME)
    }
}

/// A clean-up of images, or an administrator's hand.
#[test]
fn a_program_that_vanishes_or_is_damaged_comes_back() {
    let folders = Folders::new("vanished");
    folders.put("10-a.conflist", &list("bridge"));
    let stop = AtomicBool::new(false);
    let is_whole = || {
        let found = fs::metadata(folders.program());
        found.is_ok_and(|found| found.permissions().mode() & 0o777 == 0o755)
            && fs::read(folders.program()).is_ok_and(|text| text == b"program")
    };
    scope(|scope| {
        scope.spawn(|| folders.watch(&stop));
        soon(is_whole);
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 4] = [
            ("removed", |path| fs::remove_file(path).unwrap()),
            ("written", |path| fs::write(path, b"another").unwrap()),
            ("moved", |path| fs::rename(path, path.with_extension("old")).unwrap()),
            ("no program", |path| {
                fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
            }),
        ];
        for (what, damage) in damages {
            damage(&folders.program());
            println!("{what}: back after {:?}", soon(is_whole));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// `mv net.d net.d.old; mkdir net.d` by hand, where the path is no mount.
#[test]
fn a_folder_that_takes_the_place_of_another_is_watched() {
    let folders = Folders::new("replaced");
    folders.put("10-a.conflist", &list("bridge"));
    let stop = AtomicBool::new(false);
    scope(|scope| {
        scope.spawn(|| folders.watch(&stop));
        soon(|| folders.taken().ends_with(NAME));
        for number in 0..3 {
            // While it is not there, the installer complains and goes on.
            let new = folders.0.join("new");
            fs::create_dir(&new).unwrap();
            fs::write(new.join("10-b.conflist"), list("ptp").to_string()).unwrap();
            let old = folders.0.join(format!("old{number}"));
            nix::fcntl::renameat2(
                nix::fcntl::AT_FDCWD,
                &new,
                nix::fcntl::AT_FDCWD,
                &folders.conf(),
                nix::fcntl::RenameFlags::RENAME_EXCHANGE,
            )
            .unwrap();
            fs::rename(&new, &old).unwrap();
            let taken = || folders.taken();
            soon(|| taken() == "10-b.conflist: ptp portmap nftpol-cni");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// CRI-O ends a pod by the configuration that it was started with.
#[test]
fn the_program_stays_while_a_pod_was_started_with_it() {
    let folders = Folders::new("referred");
    folders.put("10-a.conflist", &list("bridge"));
    folders.arguments("install").run().unwrap();
    let results = folders.0.join("cache").join("results");
    fs::create_dir_all(&results).unwrap();
    // {"plugins":[{"type":"nftpol-cni"}]}
    let cached =
        r#"{"kind":"cniCacheV1","config":"eyJwbHVnaW5zIjpbeyJ0eXBlIjoibmZ0cG9sLWNuaSJ9XX0="}"#;
    fs::write(results.join("pods-c1-eth0"), cached).unwrap();
    folders.arguments("remove").run().unwrap();
    assert_eq!(folders.taken(), "10-a.conflist: bridge portmap", "no new pod uses it");
    assert!(folders.program().exists(), "DEL of that pod needs it");
    fs::remove_file(results.join("pods-c1-eth0")).unwrap();
    folders.arguments("remove").run().unwrap();
    assert!(!folders.program().exists());
}

/// The overlay gave its options with `=`, and the installer knew none of them.
#[test]
fn the_words_of_the_manifests_are_options() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests");
    let texts = ["components/cni/kustomization.yaml", "overlays/cni-remove/daemonset.yaml"];
    let texts: String = texts.map(|name| fs::read_to_string(folder.join(name)).unwrap()).concat();
    let lists = texts.lines().filter_map(|line| line.trim().strip_prefix("args: ["));
    let mut calls: Vec<Vec<String>> = lists
        .map(|list| list.trim_end_matches(']').split(", ").map(str::to_owned).collect())
        .collect();
    // One argument a line.
    let mut rest = texts.lines().skip_while(|line| line.trim() != "args:").skip(1);
    let items = rest.by_ref().map_while(|line| line.trim().strip_prefix("- "));
    calls.push(items.map(str::to_owned).collect());
    assert_eq!(calls.len(), 3, "{calls:?}");
    for words in calls {
        let arguments = Arguments::parse(&words).unwrap();
        assert_eq!(arguments.conf, Path::new("/host/etc/cni/net.d"), "{words:?}");
        assert_eq!(arguments.bin, Path::new("/host/opt/cni/bin"), "{words:?}");
    }
    let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert!(Arguments::parse(&words(&["install", "--watch=true"])).is_err());
    assert!(Arguments::parse(&words(&["install", "--without-agent=open"])).is_err());
}
