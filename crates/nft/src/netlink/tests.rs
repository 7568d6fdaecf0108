use super::*;
use proptest::prelude::*;

/// An error as the kernel of Linux 6.18 sends it: NLM_F_CAPPED and a text.
fn error(code: i32, text: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(code.to_ne_bytes());
    body.extend([20u32, 0].iter().flat_map(|word| word.to_ne_bytes())); // the request's length, kind
    body.extend(77u32.to_ne_bytes());
    body.extend(0u32.to_ne_bytes());
    if let Some(text) = text {
        body.extend((text.len() as u16 + 5).to_ne_bytes());
        body.extend(1u16.to_ne_bytes());
        body.extend(text.bytes());
        body.push(0);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let flags = libc::NLM_F_CAPPED | if text.is_some() { libc::NLM_F_ACK_TLVS } else { 0 };
    let mut message = Vec::new();
    message.extend((body.len() as u32 + 16).to_ne_bytes());
    message.extend((libc::NLMSG_ERROR as u16).to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    message.extend(77u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(body);
    message
}

#[test]
fn errors_are_read_with_number_and_text() {
    let datagram = [error(-2, None), error(-17, Some("exists")), error(0, None)].concat();
    let read: Vec<_> = messages(&datagram).filter_map(|one| one.failure()).collect();
    let failure =
        |errno, text: Option<&str>| Failure { sequence: 77, errno, text: text.map(str::to_owned) };
    let expected = [
        failure(Some(Errno::ENOENT), None),
        failure(Some(Errno::EEXIST), Some("exists")),
        failure(None, None),
    ];
    assert_eq!(read, expected);
}

#[test]
fn a_begin_message_carries_the_generation() {
    let begin = batch_mark(libc::NFNL_MSG_BATCH_BEGIN, 5, Some(0x0102_0304));
    let all: Vec<_> = messages(&begin).collect();
    let [message] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((i32::from(message.kind), message.sequence), (libc::NFNL_MSG_BATCH_BEGIN, 5));
    assert_eq!(message.attribute(1), Some(&[1, 2, 3, 4][..]));
    assert_eq!(message.attribute(2), None);
    assert_eq!(batch_mark(libc::NFNL_MSG_BATCH_END, 6, None).len(), HEADERS);
}

#[test]
fn what_is_cut_short_is_left_out() {
    let whole = error(-2, Some("a text"));
    for length in 0..whole.len() {
        assert_eq!(messages(&whole[..length]).count(), 0, "{length} bytes");
    }
    let two = [whole.clone(), whole].concat();
    assert_eq!(messages(&two[..two.len() - 1]).count(), 1);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for message in messages(&bytes) {
            let _ = (message.failure(), message.error_code(), message.attribute(1));
        }
    }

    #[test]
    fn nor_a_garbled_error(at in 0..60_usize, byte in any::<u8>()) {
        let mut bytes = error(-2, Some("a text"));
        if let Some(slot) = bytes.get_mut(at) {
            *slot = byte;
        }
        for message in messages(&bytes) {
            let _ = (message.failure(), message.attribute(1));
        }
    }
}
