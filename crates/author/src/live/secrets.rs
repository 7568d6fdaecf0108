//! Takes secrets out of a text that somebody else will read.
//!
//! In: a text. Out: the same without bearer tokens and PEM blocks. Nothing that a support
//! bundle collects should hold one; this is the second lock.

/// What stands in a secret's place.
const REMOVED: &str = "[removed]";
/// A PEM block begins and ends so (RFC 7468, 3).
const PEM: [&str; 2] = ["-----BEGIN ", "-----END "];
/// The words before a token, in any case: RFC 6750, 2.1, and what kubeconfigs and Secrets have.
const BEFORE: [&str; 6] =
    ["bearer ", "token: ", "token=", "password: ", "password=", "\"token\":\""];
/// A token in JWS compact form begins so: `{"` in base64url (RFC 7515, 3.1).
const JWS: &str = "eyJ";
/// Texts that begin like a token and are shorter are none.
const SHORTEST: usize = 40;

/// The text without secrets.
pub fn removed(text: &str) -> String {
    let mut left = without_pem(text);
    for word in BEFORE {
        left = without_word_after(&left, word);
    }
    without_tokens(&left)
}

/// Also takes a block that does not end.
fn without_pem(text: &str) -> String {
    let [begin, end] = PEM;
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, block)) = rest.split_once(begin) {
        out += before;
        out += REMOVED;
        rest = block.split_once(end).map_or("", |(_, after)| {
            // `CERTIFICATE-----`
            after.split_once("-----").map_or("", |(_, after)| after)
        });
    }
    out + rest
}

fn without_word_after(text: &str, mark: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(found) = lower[at..].find(mark) {
        let start = at + found + mark.len();
        let end = start + word(&text[start..]);
        out += &text[at..start];
        // `token: ` at a line's end is no secret.
        if end > start {
            out += REMOVED;
        }
        at = end;
    }
    out + &text[at..]
}

fn without_tokens(text: &str) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(found) = text[at..].find(JWS) {
        let start = at + found;
        let end = start + word(&text[start..]);
        out += &text[at..start];
        out += if end - start >= SHORTEST { REMOVED } else { &text[start..end] };
        at = end;
    }
    out + &text[at..]
}

/// The bytes of the word at the begin of a text.
fn word(text: &str) -> usize {
    let is_in = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=".contains(c);
    text.find(|c| !is_in(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_certificates_go_and_the_rest_stays() {
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", "A".repeat(60));
        let cases = [
            (format!("a {token} b"), "a [removed] b"),
            (format!("Authorization: Bearer {token}\nx"), "Authorization: Bearer [removed]\nx"),
            ("authorization: BEARER abc".to_owned(), "authorization: BEARER [removed]"),
            ("{\"token\":\"s3cr3t\",\"x\":1}".to_owned(), "{\"token\":\"[removed]\",\"x\":1}"),
            ("token: s3cr3t\npassword=p x".to_owned(), "token: [removed]\npassword=[removed] x"),
            (
                "a\n-----BEGIN PRIVATE KEY-----\nMIIC\n-----END PRIVATE KEY-----\nb".to_owned(),
                "a\n[removed]\nb",
            ),
            ("-----BEGIN CERTIFICATE-----\nMIIC".to_owned(), "[removed]"),
            ("pod eyJ-web, K token:\n".to_owned(), "pod eyJ-web, K token:\n"),
            ("Kelvin \u{212a} bearer x ä".to_owned(), "Kelvin \u{212a} bearer [removed] ä"),
            (String::new(), ""),
        ];
        for (text, expected) in cases {
            assert_eq!(removed(&text), expected);
        }
    }
}
