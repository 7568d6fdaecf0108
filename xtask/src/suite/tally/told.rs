//! What the failed tests of a program said.
//!
//! In: the lines of libtest's output. Out: for each failed test the message of its
//! first panic, or its error. Never: a backtrace, or more than a few lines.

/// How many lines of a message are kept, and how many characters of a line.
const LINES: usize = 15;
const CHARACTERS: usize = 500;

/// The messages so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    tests: Vec<Test>,
    /// Whether the lines that follow are the last test's.
    is_open: bool,
}

/// What one test said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Test {
    name: String,
    lines: Vec<String>,
    part: Part,
}

/// Where in a test's output the last line was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// Before a panic or an error. `lines` are the last ones.
    #[default]
    Before,
    /// In the first panic's message.
    Panic,
    /// In an error's message.
    Error,
    /// After the first panic's message.
    AfterPanic,
    /// After an error's message.
    AfterError,
}

impl Told {
    /// Reads one line, without colours.
    pub fn read(&mut self, line: &str) {
        let named = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----"));
        if let Some(name) = named {
            self.tests.push(Test { name: name.to_owned(), ..Test::default() });
            self.is_open = true;
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.is_open = false;
        } else if self.is_open
            && let Some(test) = self.tests.last_mut()
        {
            test.read(line);
        }
    }

    /// What this test said.
    pub fn of(&self, name: &str) -> &[String] {
        let test = self.tests.iter().find(|test| test.name == name);
        test.map_or(&[], |test| test.lines.as_slice())
    }
}

impl Test {
    fn read(&mut self, line: &str) {
        let begins = begins(line);
        self.part = match (self.part, begins) {
            // Other threads panic because the first one did.
            (Part::Panic, Some(_)) | (Part::AfterPanic, _) => Part::AfterPanic,
            // The test's own error is the last one. Others come from what it printed.
            (_, Some(part)) => part,
            (Part::Panic, None) if is_backtrace(line) => Part::AfterPanic,
            (Part::Error, None) if is_backtrace(line) => Part::AfterError,
            (part, None) => part,
        };
        if begins == Some(self.part) {
            self.lines.clear();
        }
        match self.part {
            Part::Before if line.is_empty() => {}
            Part::Before if self.lines.len() == LINES => {
                self.lines.remove(0);
                self.keep(line);
            }
            Part::Before => self.keep(line),
            Part::Panic | Part::Error if self.lines.len() < LINES => self.keep(line),
            Part::Panic | Part::Error | Part::AfterPanic | Part::AfterError => {}
        }
    }

    fn keep(&mut self, line: &str) {
        self.lines.push(line.chars().take(CHARACTERS).collect());
    }
}

/// A line that begins a message: `thread 'main' (1) panicked at a.rs:1:1:`, or `Error: `
/// of a test that returned an error.
fn begins(line: &str) -> Option<Part> {
    if line.starts_with("thread '") && line.contains(" panicked at ") {
        Some(Part::Panic)
    } else {
        line.starts_with("Error: ").then_some(Part::Error)
    }
}

/// The line after a message: `stack backtrace:` of a panic, `Stack backtrace:` of an
/// error, or a note about either.
fn is_backtrace(line: &str) -> bool {
    line.eq_ignore_ascii_case("stack backtrace:") || line.starts_with("note: run with `RUST_BACK")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(output: &str) -> Vec<String> {
        let mut told = Told::default();
        let all = format!("failures:\n\n---- a stdout ----\n{output}\n\nfailures:\n    a\n");
        all.lines().for_each(|line| told.read(line));
        told.of("a").iter().filter(|line| !line.is_empty()).cloned().collect()
    }

    #[test]
    fn a_panic_is_told_without_what_was_printed_before_and_without_a_backtrace() {
        let output = "1.0 s  pods are ready\n\nthread 'a' (7) panicked at b.rs:66:30:
assertion failed\n  left: 0\n right: 1\nstack backtrace:\n   0: begin_unwind\nnote: Some details";
        let expected = [
            "thread 'a' (7) panicked at b.rs:66:30:",
            "assertion failed",
            "  left: 0",
            " right: 1",
        ];
        assert_eq!(said(output), expected);
    }

    #[test]
    fn of_several_panics_the_first_is_told() {
        let one = "thread 'a' (7) panicked at b.rs:1:1:\nfirst";
        let other = "thread 'a' (8) panicked at b.rs:2:2:\nsecond";
        assert_eq!(
            said(&format!("{one}\n{other}")),
            ["thread 'a' (7) panicked at b.rs:1:1:", "first"]
        );
    }

    #[test]
    fn of_several_errors_the_last_is_told_with_its_causes() {
        let output = "Error: a line of a log\nmore of it\nError: forged\n\nCaused by:
    attacks that work\n\nStack backtrace:\n   0: anyhow::error";
        assert_eq!(said(output), ["Error: forged", "Caused by:", "    attacks that work"]);
    }

    #[test]
    fn without_either_the_last_lines_are_told() {
        let lines: Vec<String> = (0..LINES + 3).map(|number| number.to_string()).collect();
        assert_eq!(said(&lines.join("\n")), lines[3..]);
    }

    #[test]
    fn a_long_message_is_cut() {
        let long = "x".repeat(CHARACTERS + 1);
        let lines = said(&format!("Error: {}", [long.as_str(); LINES + 3].join("\n")));
        assert_eq!(lines.len(), LINES);
        assert!(lines.iter().all(|line| line.len() == CHARACTERS));
    }

    #[test]
    fn each_test_has_its_own() {
        let mut told = Told::default();
        let output = "---- a stdout ----\nError: one\n---- b stdout ----\nError: two\nfailures:\nc";
        output.lines().for_each(|line| told.read(line));
        assert_eq!(told.of("a"), ["Error: one"]);
        assert_eq!(told.of("b"), ["Error: two"]);
        assert!(told.of("c").is_empty());
    }
}
