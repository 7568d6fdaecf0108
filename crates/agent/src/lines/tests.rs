//! Lines through pipes that are read, that nobody reads, and that are gone.

use std::io::{BufRead, BufReader, Read, pipe};

use super::*;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn lines_arrive_whole_and_in_order() {
    let (reader, writer) = pipe().unwrap();
    let lines = Lines::to(&writer).unwrap();
    for number in 0..1000 {
        lines.push(&format!("line {number}\n"));
    }
    let mut read = BufReader::new(reader).lines();
    for number in 0..1000 {
        assert_eq!(read.next().unwrap().unwrap(), format!("line {number}"));
    }
    lines.finish(LONG);
    assert_eq!(lines.lost(), 0);
}

#[test]
fn a_line_that_somebody_can_read_is_there_before_its_writer_goes_on() {
    let (mut reader, writer) = pipe().unwrap();
    let lines = Lines::to(&writer).unwrap();
    let mut read = [0; 64];
    for number in 10..20 {
        lines.push(&number.to_string());
        // Otherwise this waits, which the time of the next lines shows.
        assert_eq!(reader.read(&mut read[..3]).unwrap(), 3);
        assert_eq!(read[..3], *format!("{number}\n").as_bytes());
        assert_eq!(lines.0.queue().restless_until, None);
    }
}

#[test]
fn nobody_waits_for_a_reader_and_what_was_lost_is_said_when_there_is_one() {
    let (reader, writer) = pipe().unwrap();
    let lines = Lines::to(&writer).unwrap();
    let text = "x".repeat(1000);
    let start = Instant::now();
    for _ in 0..3000 {
        lines.push(&text);
    }
    lines.finish(Duration::from_millis(10));
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    assert!(lines.0.queue().restless_until.is_some());
    let lost = lines.lost();
    // The queue has a MiB, the pipe 64 KiB.
    assert!((1800..1990).contains(&lost), "{lost}");
    let mut read = BufReader::new(reader).lines().map(Result::unwrap);
    for _ in lost..3000 {
        assert_eq!(read.next().unwrap(), text);
    }
    let said = format!("warning: {lost} lines were lost here: nobody read this stream in time");
    assert_eq!(read.next().unwrap(), said);
    lines.push("and on");
    assert_eq!(read.next().unwrap(), "and on");
    assert_eq!(lines.lost(), lost);
}

#[test]
fn a_reader_that_is_gone_costs_lines_and_nothing_else() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let lines = Lines::to(&writer).unwrap();
    lines.push("a");
    lines.finish(LONG);
    assert_eq!(lines.lost(), 1);
}

/// Takes nothing at every other try, and one byte at the others.
struct Stubborn(bool, File);

impl Write for Stubborn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = !self.0;
        if self.0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.1.write(&bytes[..1])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_takes_little_gets_whole_lines() {
    let (mut reader, writer) = pipe().unwrap();
    let file = File::from(writer.as_fd().try_clone_to_owned().unwrap());
    drop(writer);
    let lines = Lines::through(Stubborn(false, file)).unwrap();
    lines.push("abc");
    let mut read = [0; 4];
    reader.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"abc\n");
}

#[test]
fn a_line_is_one_line_and_not_too_long() {
    assert_eq!(line("a\nb\n\n"), b"a\\nb\n");
    let cut = String::from_utf8(line(&"ä".repeat(3000))).unwrap();
    assert!(cut.ends_with("ä... (1904 more bytes)\n"), "{}", &cut[4000..]);
}
