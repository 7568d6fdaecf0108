//! Packets at full speed while rules change. Each packet must meet its expected fate.
//!
//! Each test prints its row on stderr. `NFTPOL_FIRE=long` makes twenty times as many
//! updates.

use std::sync::{Mutex, MutexGuard, PoisonError};

use netbed::fire::{Kind, run, run_killed};

/// One run at a time, because a run needs two processors for itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

macro_rules! under_fire {
    ($($kind:ident)*) => {$(
        #[test]
        fn $kind() {
            let _alone = alone();
            run(Kind::$kind).unwrap();
        }
    )*};
}

under_fire! {
    policies_edited
    policy_and_pod
    pods_relabelled
    isolated_and_released
    addresses_reused
    whole_reapplied
    restarted
}

#[test]
fn killed_and_started_again() {
    let _alone = alone();
    run_killed().unwrap();
}
