use super::*;
use ruleset::{Family, Rule, SetType};

fn refusal(errno: Errno) -> Refusal {
    Refusal { op: 0, action: "create set", object: None, errno, message: None }
}

const SHORTAGES: [Errno; 7] = [
    Errno::ENOMEM,
    Errno::ENOBUFS,
    Errno::ENFILE,
    Errno::EMFILE,
    Errno::ENOSPC,
    Errno::EINTR,
    Errno::EAGAIN,
];
const FAULTS: [Errno; 8] = [
    Errno::EPERM,
    Errno::ENOENT,
    Errno::EEXIST,
    Errno::EBUSY,
    Errno::EINVAL,
    Errno::EMLINK,
    Errno::EOPNOTSUPP,
    Errno::EMSGSIZE,
];

#[test]
fn a_shortage_is_transient_in_every_form() {
    for errno in SHORTAGES {
        assert!(refusal(errno).is_transient(), "{errno}");
        assert!(SendError::Refused(vec![refusal(errno)]).is_transient(), "{errno}");
        assert!(SendError::RefusedWhole(errno).is_transient(), "{errno}");
        assert!(SendError::Io(errno.into()).is_transient(), "{errno}");
    }
    for errno in FAULTS {
        assert!(!refusal(errno).is_transient(), "{errno}");
        assert!(!SendError::Refused(vec![refusal(errno)]).is_transient(), "{errno}");
        assert!(!SendError::RefusedWhole(errno).is_transient(), "{errno}");
        assert!(!SendError::Io(errno.into()).is_transient(), "{errno}");
    }
    for other in [SendError::GenerationMoved, SendError::Permission, SendError::Unknown] {
        assert!(!other.is_transient(), "{other}");
    }
    assert!(!SendError::Io(io::Error::other("no errno")).is_transient());
}

#[test]
fn one_shortage_among_refusals_makes_the_batch_transient() {
    let refusals = vec![refusal(Errno::ENOMEM), refusal(Errno::ENOENT)];
    assert!(SendError::Refused(refusals).is_transient());
    assert!(!SendError::Refused(Vec::new()).is_transient());
}

#[test]
fn the_cause_depends_on_the_error_and_on_the_operation() {
    let name = Name::new("a").unwrap_or_else(|error| unreachable!("{error}"));
    let key = SetType::Address(Family::V4);
    let rule = Op::AddRule(
        name.clone(),
        Rule { matches: Vec::new(), log: None, finish: None, comment: None },
    );
    let set = Op::CreateSet(name.clone(), key, None);
    let elements = Op::AddElements(name.clone(), key, Vec::new());
    let entries = Op::AddEntries(name.clone(), Family::V4, Vec::new());
    let fewer = Op::DeleteElements(name.clone(), key, Vec::new());
    let delete = Op::DeleteChain(name);
    let ops = [&rule, &set, &elements, &entries, &fewer, &delete];
    let (object, state) = (Cause::Object, Cause::TableState);
    let cases = [
        (Errno::EINVAL, [object, object, object, object, state, state]),
        (Errno::EAFNOSUPPORT, [object, object, object, object, state, state]),
        (Errno::ELOOP, [object, object, object, object, state, state]),
        (Errno::UnknownErrno, [object, object, object, object, state, state]),
        (Errno::EEXIST, [state, state, object, state, state, state]),
        (Errno::ENOENT, [object, state, state, state, state, state]),
        (Errno::EBUSY, [state; 6]),
        (Errno::EPERM, [state; 6]),
        (Errno::ENOMEM, [Cause::Shortage; 6]),
    ];
    for (errno, expected) in cases {
        assert_eq!(ops.map(|op| cause(errno, Some(op))), expected, "{errno}");
    }
    assert_eq!(cause(Errno::EINVAL, None), state);
}
