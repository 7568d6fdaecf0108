//! Folders whose path is a mount of them, as in the installer's container.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

/// Runs in a mount namespace of its own, in a thread of its own.
fn mounted(name: &str, test: impl FnOnce(&Path, &Path) + Send + 'static) {
    let folder = std::env::temp_dir().join(format!("nftpol-cni-{name}-{}", std::process::id()));
    let (host, inside) = (folder.join("net.d"), folder.join("mounted"));
    for path in [&host, &inside] {
        fs::create_dir_all(path).unwrap();
    }
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some(&host), &inside, none, MsFlags::MS_BIND, none).unwrap();
        test(&host, &inside);
    };
    let result = std::thread::spawn(run).join();
    fs::remove_dir_all(&folder).unwrap();
    result.unwrap();
}

fn waits(changes: &mut Changes) -> Option<String> {
    // What came before the wait, too.
    (0..2).find_map(|_| changes.wait().err().map(|error| error.to_string()))
}

#[test]
fn the_installer_ends_when_the_nodes_folder_is_renamed_or_removed() {
    for (name, do_it) in [
        ("renamed", (|host| fs::rename(host, host.with_extension("old")).unwrap()) as fn(&Path)),
        ("removed", |host| fs::remove_dir(host).unwrap()),
        ("renamed-and-made", |host| {
            fs::rename(host, host.with_extension("old")).unwrap();
            fs::create_dir(host).unwrap();
        }),
    ] {
        mounted(name, move |host, inside| {
            let mut changes = Changes::of(&[inside]);
            assert_eq!(waits(&mut changes), None, "{name}: nothing happened");
            do_it(host);
            let said = waits(&mut changes).unwrap();
            assert!(said.contains("was moved or removed on the node"), "{name}: {said}");
        });
    }
}

#[test]
fn a_change_ends_the_wait_at_once() {
    mounted("changes", |host, inside| {
        let mut changes = Changes::of(&[inside]);
        let _ = changes.wait();
        let start = std::time::Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                fs::write(host.join("10-a.conflist"), "{}").unwrap();
            });
            changes.wait().unwrap();
        });
        assert!(start.elapsed() < SLOW * 9 / 10, "it took {:?}", start.elapsed());
    });
}
