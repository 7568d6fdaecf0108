//! Reads while others commit.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::namespace::{in_namespace, name, table};
use nft::{Kernel, ReadError};
use ruleset::{Batch, Element, Family, Op, SetType};

const ADDRESSES: SetType = SetType::Address(Family::V4);

/// More elements than fit into one datagram of a dump.
fn elements(first: u32) -> Vec<Element> {
    let addresses = (first..first + 2_000).map(|one| IpAddr::V4(Ipv4Addr::from_bits(one)));
    addresses.map(Element::Address).collect()
}

#[test]
fn a_dump_is_of_one_moment() {
    const DUMPS: usize = 60;
    const STATES: [u32; 2] = [1 << 16, 2 << 16];
    in_namespace(|reader| {
        let sets = [name("a"), name("b")];
        let add = |set: &_, state| Op::AddElements(Clone::clone(set), ADDRESSES, elements(state));
        let delete =
            |set: &_, state| Op::DeleteElements(Clone::clone(set), ADDRESSES, elements(state));
        let mut ops = vec![Op::CreateTable];
        ops.extend(sets.iter().map(|set| Op::CreateSet(set.clone(), ADDRESSES, None)));
        ops.extend(sets.iter().map(|set| add(set, STATES[0])));
        reader.send(&table(), &Batch { ops }, None).expect("create");
        let mut writer = Kernel::open().expect("open");
        let done = AtomicBool::new(false);
        let (mut seen, mut given_up) = ([0; 2], 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Each commit moves both sets from one state to the other.
                let [one, other] = STATES;
                for (from, to) in [(one, other), (other, one)].into_iter().cycle() {
                    let changes = sets.iter().flat_map(|set| [delete(set, from), add(set, to)]);
                    let batch = Batch { ops: changes.collect() };
                    writer.send(&table(), &batch, None).expect("commit");
                    std::thread::sleep(std::time::Duration::from_millis(30));
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            for _ in 0..DUMPS {
                let result = reader.dump(&table());
                let Ok(dump) = result else {
                    assert!(matches!(result, Err(ReadError::KeepsChanging(_))), "{result:?}");
                    given_up += 1;
                    continue;
                };
                let sets = dump.expect("the table").ruleset.sets;
                let all: Vec<Element> = sets["a"].elements.iter().copied().collect();
                assert!(sets["b"].elements.iter().eq(&all));
                let state = STATES.iter().position(|state| elements(*state) == all);
                seen[state.expect("one of the two states")] += 1;
            }
            done.store(true, Ordering::Relaxed);
        });
        println!("{seen:?} of the states, {given_up} given up");
        assert!(seen[0] + seen[1] > 0);
    });
}

/// Before a read the kernel is sent an empty batch.
#[test]
fn a_read_commits_nothing() {
    in_namespace(|kernel| {
        kernel.send(&table(), &Batch { ops: vec![Op::CreateTable] }, None).expect("create");
        let before = kernel.generation().expect("generation");
        kernel.tables().expect("tables");
        kernel.dump(&table()).expect("dump");
        kernel.fingerprint(&table(), &name("forward")).expect("fingerprint");
        kernel.chains_of_others(|chain| chain.drops_forwarded).expect("list chains");
        assert_eq!(kernel.generation().expect("generation"), before);
    });
}

#[test]
fn a_handle_stays_in_the_namespace_that_it_was_opened_in() {
    in_namespace(|outer| {
        outer.send(&table(), &Batch { ops: vec![Op::CreateTable] }, None).expect("create");
        in_namespace(|inner| {
            assert_eq!(inner.tables().expect("tables"), []);
            assert_eq!(outer.tables().expect("tables"), [table()]);
        });
    });
}

#[test]
fn a_handle_can_go_to_another_thread() {
    fn goes<T: Send + Sync + 'static>() {}
    goes::<Kernel>();
    goes::<nft::SendError>();
    goes::<ReadError>();
}

#[test]
fn a_membarrier_comes_back() {
    // A kernel without it returns one of these errors.
    let lacking = [nft::Errno::EINVAL, nft::Errno::ENOSYS, nft::Errno::EPERM];
    let result = nft::membarrier();
    assert!(result.is_ok_and(|()| true) || result.is_err_and(|errno| lacking.contains(&errno)));
}
