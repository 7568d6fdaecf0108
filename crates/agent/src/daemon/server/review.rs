//! Whether somebody may read the metrics: the API server is asked, as kube-rbac-proxy and
//! the kubelet ask it.
//!
//! In: a request's bearer token, and the address it comes from. Out: yes, or why not.
//! Never: a token that is kept: its hash is; more than a few questions a second for one
//! address, however many tokens it tries.
//!
//! ```text
//! token ── TokenReview ──▶ user ── SubjectAccessReview (get /metrics) ──▶ allowed
//! ```

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

/// How long an answer counts. The kubelet keeps tokens for two minutes
/// (`authentication.webhook.cacheTTL`, kubernetes.io, "Kubelet Configuration").
const ALLOWED_FOR: Duration = Duration::from_secs(120);
/// How long a refusal counts: a right that is granted works soon.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the log says that there is no answer. Somebody who tries tokens must not
/// fill it.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Answers that are remembered.
const REMEMBERED: usize = 1024;
/// Questions that an address may cause at once, and one more each second.
const BURST: u32 = 5;
/// Addresses that are counted. Beyond them nobody new is asked about for a while.
const ADDRESSES: usize = 4096;
/// Tokens of ServiceAccounts have about a kilobyte.
const TOKEN_BYTES: usize = 16 << 10;

/// Why somebody may not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no bearer token.
    NoToken,
    /// The API server does not know the token.
    Unknown,
    /// The user lacks the right.
    Forbidden(String),
    /// This address asks too often.
    TooMany,
    /// The API server gave no answer.
    NoAnswer(String),
}

impl Refusal {
    /// The status of the answer (RFC 9110, 15.5; RFC 6585, 4).
    pub fn code(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::NoAnswer(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToken => f.write_str("send a token: Authorization: Bearer TOKEN"),
            Self::Unknown => f.write_str("the API server does not accept this token"),
            Self::Forbidden(user) => write!(
                f,
                "{user} may not get /metrics: bind a ClusterRole with nonResourceURLs: [/metrics], \
                 verbs: [get]"
            ),
            Self::TooMany => f.write_str("too many tokens from this address; try again later"),
            Self::NoAnswer(_) => f.write_str("the API server gave no answer about this token"),
        }
    }
}

/// Asks, and remembers the answers for a while.
pub struct Reviews {
    client: Client,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    answers: HashMap<[u8; 32], (Instant, Result<(), Refusal>)>,
    asked: HashMap<IpAddr, Asked>,
    /// When the log last said that there is no answer.
    warned: Option<Instant>,
}

/// How many questions an address caused.
#[derive(Clone, Copy, Debug)]
struct Asked {
    left: u32,
    since: Instant,
}

impl Reviews {
    /// Asks with the rights of this client: create on `tokenreviews` and
    /// `subjectaccessreviews`.
    pub fn by(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// Whether who sends these headers may read.
    pub async fn allows(&self, from: IpAddr, headers: &HeaderMap) -> Result<(), Refusal> {
        let token = bearer(headers).ok_or(Refusal::NoToken)?;
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(answer) = self.known().admit(hash, from, Instant::now()) {
            return answer;
        }
        let answer = match timeout(PATIENCE, self.ask(token)).await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::NoAnswer("no answer in time".to_owned())),
        };
        let now = Instant::now();
        let mut known = self.known();
        if let Err(Refusal::NoAnswer(why)) = &answer
            && known.warned.is_none_or(|last| now.saturating_duration_since(last) >= WARN_EVERY)
        {
            known.warned = Some(now);
            tracing::warn!("ask the API server who may read the metrics: {why}");
        }
        known.remember(hash, answer.clone(), now);
        drop(known);
        answer
    }

    async fn ask(&self, token: &str) -> Result<(), Refusal> {
        let unanswered = |error: kube::Error| {
            Refusal::NoAnswer(match error {
                kube::Error::Api(status) => status.message,
                // With its causes.
                error => format!("{:#}", anyhow::Error::from(error)),
            })
        };
        let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let reviewed = reviews.create(&PostParams::default(), &review).await.map_err(unanswered)?;
        let status = reviewed.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true));
        let UserInfo { username, groups, uid, extra } = user.ok_or(Refusal::Unknown)?;
        let name = username.clone().unwrap_or_default();
        let wanted = NonResourceAttributes {
            path: Some("/metrics".to_owned()),
            verb: Some("get".to_owned()),
        };
        let spec = SubjectAccessReviewSpec {
            user: username,
            groups,
            uid,
            extra,
            non_resource_attributes: Some(wanted),
            resource_attributes: None,
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let reviewed = reviews.create(&PostParams::default(), &review).await.map_err(unanswered)?;
        match reviewed.status.is_some_and(|status| status.allowed) {
            true => Ok(()),
            false => Err(Refusal::Forbidden(name)),
        }
    }

    /// A thread that panicked while it held the lock left no half-written value.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The remembered answer; a refusal if this address may cause no question now; `None`
    /// if the API server is to be asked.
    fn admit(&mut self, hash: [u8; 32], from: IpAddr, now: Instant) -> Option<Result<(), Refusal>> {
        if let Some((since, answer)) = self.answers.get(&hash)
            && now.saturating_duration_since(*since) < holds_for(answer)
        {
            return Some(answer.clone());
        }
        if self.asked.len() >= ADDRESSES && !self.asked.contains_key(&from) {
            self.asked.retain(|_, asked| asked.refilled(now).left < BURST);
            if self.asked.len() >= ADDRESSES {
                return Some(Err(Refusal::TooMany));
            }
        }
        let asked = self.asked.entry(from).or_insert(Asked { left: BURST, since: now });
        *asked = asked.refilled(now);
        if asked.left == 0 {
            return Some(Err(Refusal::TooMany));
        }
        asked.left -= 1;
        None
    }

    fn remember(&mut self, hash: [u8; 32], answer: Result<(), Refusal>, now: Instant) {
        if self.answers.len() >= REMEMBERED {
            // Tokens that nobody knows push out no one who may read.
            self.answers.retain(|_, (since, answer)| {
                answer.is_ok() && now.saturating_duration_since(*since) < ALLOWED_FOR
            });
        }
        if self.answers.len() < REMEMBERED {
            self.answers.insert(hash, (now, answer));
        }
    }
}

impl Asked {
    /// With what came back since.
    fn refilled(self, now: Instant) -> Self {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        let back = u32::try_from(seconds).unwrap_or(BURST);
        match back {
            0 => self,
            back => Self { left: self.left.saturating_add(back).min(BURST), since: now },
        }
    }
}

/// How long an answer counts.
fn holds_for(answer: &Result<(), Refusal>) -> Duration {
    match answer {
        Ok(()) => ALLOWED_FOR,
        Err(Refusal::NoAnswer(_)) => Duration::ZERO,
        Err(Refusal::NoToken | Refusal::Unknown | Refusal::Forbidden(_) | Refusal::TooMany) => {
            REFUSED_FOR
        }
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, 2.1); the word is the same in any
/// case (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let is_token = !token.is_empty() && token.len() <= TOKEN_BYTES;
    (scheme.eq_ignore_ascii_case("bearer") && is_token).then_some(token)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn hash(number: u32) -> [u8; 32] {
        Sha256::digest(number.to_be_bytes()).into()
    }

    #[test]
    fn only_a_bearer_token_is_one() {
        let token = |value: &'static str| {
            let headers = [(AUTHORIZATION, HeaderValue::from_static(value))];
            bearer(&headers.into_iter().collect()).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer  abc ").as_deref(), Some("abc"));
        for wrong in ["Basic abc", "Bearer", "Bearer ", "abc", ""] {
            assert_eq!(token(wrong), None, "{wrong:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn who_tries_many_tokens_keeps_nobody_else_out() {
        let (mut known, start) = (Known::default(), Instant::now());
        let [greedy, scraper] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        known.remember(hash(0), Ok(()), start);
        let asked = (1..=100).filter(|token| known.admit(hash(*token), greedy, start).is_none());
        assert_eq!(asked.count(), BURST as usize);
        assert_eq!(known.admit(hash(0), scraper, start), Some(Ok(())));
        assert_eq!(known.admit(hash(500), scraper, start), None, "another token of another");
        let later = start + Duration::from_secs(2);
        let asked = (1..=100).filter(|token| known.admit(hash(*token), greedy, later).is_none());
        assert_eq!(asked.count(), 2);
        for number in 1000..1000 + 2 * REMEMBERED as u32 {
            known.remember(hash(number), Err(Refusal::Unknown), start);
        }
        assert!(known.answers.len() <= REMEMBERED);
        assert_eq!(known.admit(hash(0), scraper, start), Some(Ok(())), "pushed out");
    }

    #[test]
    fn an_answer_counts_for_a_while() {
        let (mut known, start) = (Known::default(), Instant::now());
        let from = IpAddr::from([10, 0, 0, 1]);
        known.remember(hash(1), Ok(()), start);
        known.remember(hash(2), Err(Refusal::Unknown), start);
        known.remember(hash(3), Err(Refusal::NoAnswer(String::new())), start);
        let at = |known: &mut Known, token, after| known.admit(hash(token), from, start + after);
        assert_eq!(at(&mut known, 3, Duration::ZERO), None, "it is asked again");
        assert_eq!(at(&mut known, 2, REFUSED_FOR / 2), Some(Err(Refusal::Unknown)));
        assert_eq!(at(&mut known, 2, REFUSED_FOR), None);
        assert_eq!(at(&mut known, 1, ALLOWED_FOR / 2), Some(Ok(())));
        assert_eq!(at(&mut known, 1, ALLOWED_FOR), None);
    }
}
