//! Events on pods that change the rules in their own network namespace, or that are cut off on
//! further networks.
//!
//! In: when each table was last changed by something else, which pods are cut off. Out: a
//! problem for each of these pods. Never: a message that changes each time, which would be an
//! Event each time.

use std::time::{Duration, Instant};

use policy::{ObjectKey, PodUid};
use tokio::sync::watch;

use super::place::PodPlace;
use crate::problems::{About, EventReason, Problems};

/// How long a pod's Event is about the last time. One that does it again later gets the same
/// Event anew, with another time.
const ABOUT: Duration = Duration::from_secs(600);

/// Tells which pods these are.
pub(super) fn announce<'a>(
    places: impl Iterator<Item = &'a PodPlace>,
    cut_off: impl Iterator<Item = (PodUid, &'a ObjectKey, String)>,
    now: Instant,
    problems: &watch::Sender<Problems>,
) {
    let is_recent = |when: Instant| now.saturating_duration_since(when) < ABOUT;
    let recent = places.filter(|place| place.touched.is_some_and(is_recent));
    let recent = recent.map(|place| {
        (about(&place.pod, place.uid(), EventReason::TableRemoved), MESSAGE.to_owned())
    });
    let cut_off = cut_off.map(|(uid, pod, why)| (about(pod, uid, EventReason::CutOff), why));
    let found: Problems = recent.chain(cut_off).collect();
    problems.send_if_modified(|known| {
        let is_news = *known != found;
        if is_news {
            *known = found;
        }
        is_news
    });
}

const MESSAGE: &str = "something in the pod's own network namespace changed or removed the rules \
     that nftpol keeps there (a table whose name begins with nftpol), which takes CAP_NET_ADMIN; \
     nftpol restored them. In between the pod's policies did not hold. Take the capability from \
     the pod, or forbid it (Pod Security, level baseline)";

fn about(pod: &ObjectKey, uid: PodUid, reason: EventReason) -> About {
    About { object: pod.clone(), uid: uid.to_string(), reason }
}
