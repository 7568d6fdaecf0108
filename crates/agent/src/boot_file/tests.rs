//! What is believed of a file, and what is not.

use std::os::unix::fs::PermissionsExt;

use policy::pod_ranges;

use super::*;

const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn record() -> BootRecord {
    let nets = ["10.244.1.0/24", "fd00:10:244:1::/64"].map(|net| net.parse().unwrap());
    BootRecord {
        node: "node-1".to_owned(),
        written: UNIX_EPOCH + Duration::from_secs(1_796_000_000),
        ranges: pod_ranges(nets),
    }
}

fn folder() -> PathBuf {
    let name = format!("nftpol-boot-{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

fn read(text: &[u8], later: Duration) -> String {
    let folder = folder();
    let path = folder.join("boot");
    fs::write(&path, text).unwrap();
    let read = BootRecord::read(&path, record().written + later, MONTH);
    fs::remove_dir_all(&folder).unwrap();
    match read {
        Ok(read) => {
            assert_eq!(read, record());
            "believed".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_was_written_is_read_and_nothing_else_is_believed() {
    let text = record().text();
    let hour = Duration::from_secs(3600);
    assert_eq!(read(text.as_bytes(), hour), "believed");
    assert!(read(text.as_bytes(), 32 * 24 * hour).contains("32 days ago"), "too old");
    let next = text.replacen("file 1", "file 2", 1);
    assert!(read(next.as_bytes(), hour).contains("has form 2"), "too new");
    let empty = BootRecord { ranges: OrdSet::new(), ..record() }.text();
    assert!(read(empty.as_bytes(), hour).contains("no range"), "no ranges");
    for length in 0..text.len() {
        let said = read(&text.as_bytes()[..length], hour);
        assert!(said.contains("damaged"), "cut at {length}: {said}");
    }
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] ^= 1;
        let said = read(&bytes, hour);
        assert_ne!(said, "believed", "a bit of byte {place} is another one");
    }
    assert!(read(&[b'a'; 70_000], hour).contains("too long"));
}

#[test]
fn a_clock_that_is_wrong_is_not_believed() {
    let folder = folder();
    let path = folder.join("boot");
    record().write(&path).unwrap();
    let at = |now| BootRecord::read(&path, now, MONTH).map_err(|error| error.to_string());
    assert_eq!(at(record().written - Duration::from_secs(3600)).unwrap(), record(), "an hour");
    assert!(at(UNIX_EPOCH).unwrap_err().contains("from the future"), "a node without a clock");
    fs::remove_dir_all(&folder).unwrap();
}

/// The kubelet waits for who reads the file.
#[test]
fn what_others_could_have_put_there_is_not_believed() {
    let folder = folder();
    let path = folder.join("boot");
    let read = || match BootRecord::read(&path, record().written, MONTH) {
        Ok(_) => "believed".to_owned(),
        Err(error) => error.to_string(),
    };
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(read().contains("no plain file"), "a pipe");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(read().contains("no plain file"), "a folder");
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(read().contains("no plain file"), "a device");
    fs::remove_file(&path).unwrap();
    record().write(&path).unwrap();
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(read().contains("others than root"), "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(read(), "believed");
    if Uid::effective().is_root() {
        std::os::unix::fs::chown(&path, Some(1000), None).unwrap();
        assert!(read().contains("others than root"), "of another user");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_file_is_there_as_a_whole_or_not_at_all() {
    let folder = folder();
    let path = folder.join("boot");
    let missing = BootRecord::read(&path, record().written, MONTH).unwrap_err();
    assert!(matches!(missing, BootFileError::Read { .. }), "{missing}");
    for _ in 0..2 {
        record().write(&path).unwrap();
        assert_eq!(BootRecord::read(&path, record().written, MONTH).unwrap(), record());
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // A leftover of a writer that was killed, and a link that somebody put there.
    let victim = folder.join("victim");
    fs::write(&victim, "untouched").unwrap();
    std::os::unix::fs::symlink(&victim, folder.join("boot.nftpol-new")).unwrap();
    record().write(&path).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing else is left");
    assert!(record().write(&folder.join("no/such/folder")).is_err());
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_thread_writes_what_it_is_told_and_keeps_the_file_while_no_range_is_known() {
    let folder = folder();
    let path = folder.join("boot");
    let mut file = BootFile::start(path.clone(), "node-1".to_owned()).unwrap();
    file.ranges(&record().ranges);
    let start = std::time::Instant::now();
    let ranges = loop {
        assert!(start.elapsed() < Duration::from_secs(20), "not written");
        match BootRecord::read(&path, SystemTime::now(), MONTH) {
            Ok(read) => break read.ranges,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert_eq!(ranges, record().ranges);
    file.ranges(&OrdSet::new());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(BootRecord::read(&path, SystemTime::now(), MONTH).unwrap().ranges, ranges);
    drop(file);
    fs::remove_dir_all(&folder).unwrap();
}
