//! Splits a list into its items while it arrives.
//!
//! In: the bytes of a list (`{"kind":"PodList","metadata":{...},"items":[...]}`)
//! in pieces of any size.
//! Out: the bytes of each item as soon as it is complete; at the end, the list
//! without its items.
//! Never: more than one item in memory. A list of 100,000 pods is over a
//! gigabyte, of which the model keeps a few hundred bytes a pod.

/// What precedes the bracket of a list's items.
const ITEMS: &[u8] = b"\"items\":";

/// The state between two pieces of a list.
#[derive(Debug, Default)]
pub(super) struct ListSplitter {
    /// Everything but the items.
    frame: Vec<u8>,
    /// The item that has begun, up to now.
    item: Vec<u8>,
    /// Open brackets and braces.
    depth: usize,
    in_items: bool,
    in_string: bool,
    escaped: bool,
}

impl ListSplitter {
    /// Reads a piece and calls `each` with every item that ends in it.
    pub(super) fn push(&mut self, piece: &[u8], mut each: impl FnMut(&[u8])) {
        for &byte in piece {
            self.byte(byte, &mut each);
        }
    }

    /// The list without its items. It is not valid JSON if the list was cut off.
    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// How many bytes are in memory.
    pub(super) fn held(&self) -> usize {
        self.item.len().max(self.frame.len())
    }

    fn byte(&mut self, byte: u8, each: &mut impl FnMut(&[u8])) {
        let structural = !self.in_string;
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
        } else if byte == b'"' {
            self.in_string = true;
        }
        if structural && matches!(byte, b'{' | b'[') {
            self.in_items |= self.depth == 1 && byte == b'[' && self.frame.ends_with(ITEMS);
            self.depth += 1;
        }
        // An item is nested in the list's brace and the items' bracket.
        if self.in_items && self.depth > 2 {
            self.item.push(byte);
        } else {
            let between = self.in_items && byte == b',';
            let space = structural && byte.is_ascii_whitespace();
            if !between && !space {
                self.frame.push(byte);
            }
        }
        if structural && matches!(byte, b'}' | b']') {
            self.depth = self.depth.saturating_sub(1);
            if self.in_items && self.depth == 2 {
                each(&self.item);
                self.item.clear();
            }
            self.in_items &= self.depth >= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The items and the frame of a text that arrives in pieces.
    fn split(text: &str, size: usize) -> (Vec<String>, String) {
        let mut items = ListSplitter::default();
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            items.push(piece, |item| found.push(String::from_utf8(item.to_vec()).unwrap()));
        }
        (found, String::from_utf8(items.frame().to_vec()).unwrap())
    }

    #[test]
    fn items_are_found_whatever_the_pieces() {
        let text = r#"{"kind":"PodList","metadata":{"resourceVersion":"7","x":["items"]},
            "items": [ {"a":"]}\"{,\\"},{"items":[{"b":[1, 2]}]} , {} ],"after":[{"c":1}]}"#;
        for size in 1..text.len() {
            let (items, frame) = split(text, size);
            assert_eq!(items, [r#"{"a":"]}\"{,\\"}"#, r#"{"items":[{"b":[1, 2]}]}"#, "{}"]);
            assert_eq!(
                frame,
                r#"{"kind":"PodList","metadata":{"resourceVersion":"7","x":["items"]},"items":[],"after":[{"c":1}]}"#
            );
        }
    }

    #[test]
    fn an_empty_list_and_one_that_is_cut_off() {
        assert_eq!(split(r#"{"items":[]}"#, 3), (vec![], r#"{"items":[]}"#.to_owned()));
        assert_eq!(split(r#"{"items":null}"#, 3), (vec![], r#"{"items":null}"#.to_owned()));
        let (items, frame) = split(r#"{"items":[{"a":1},{"b"#, 3);
        assert_eq!(items, [r#"{"a":1}"#]);
        assert!(serde_json::from_str::<serde_json::Value>(&frame).is_err());
    }
}
