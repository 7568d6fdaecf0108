//! Events on pods that change the rules in their own network namespace.
//!
//! In: when each table was last changed by something else. Out: a problem for each pod in
//! whose namespace that was, for a while. Never: a message that changes each time, which
//! would be an Event each time.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::place::PodPlace;
use crate::problems::{About, EventReason, Problems};

/// How long a pod's Event is about the last time. One that does it again later gets the same
/// Event anew, with another time.
const ABOUT: Duration = Duration::from_secs(600);

/// Tells which pods did it.
pub(super) fn announce<'a>(
    places: impl Iterator<Item = &'a PodPlace>,
    now: Instant,
    problems: &watch::Sender<Problems>,
) {
    let is_recent = |when: Instant| now.saturating_duration_since(when) < ABOUT;
    let recent = places.filter(|place| place.touched.is_some_and(is_recent));
    let found: Problems = recent.map(|place| (about(place), MESSAGE.to_owned())).collect();
    problems.send_if_modified(|known| {
        let is_news = *known != found;
        if is_news {
            *known = found;
        }
        is_news
    });
}

const MESSAGE: &str = "something in the pod's own network namespace changed or removed the rules \
     that nftpol keeps there (table inet nftpol), which takes CAP_NET_ADMIN; nftpol restored \
     them. In between the pod's NetworkPolicies did not hold. Take the capability from the pod, \
     or forbid it (Pod Security, level baseline)";

fn about(place: &PodPlace) -> About {
    About {
        object: place.pod.clone(),
        uid: place.uid().to_string(),
        reason: EventReason::TableRemoved,
    }
}
