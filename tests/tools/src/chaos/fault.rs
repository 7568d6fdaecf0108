//! What goes wrong in one step, drawn from the dice.
//!
//! ```text
//! begins ── holds for a while, objects change ── ends ── objects stay: proved within
//! ```

use std::fmt;
use std::time::Duration;

use kubebed::apiserver::proxy::{Lie, WAYS_TO_GARBLE};

use super::dice::Dice;
use super::scene::DEV;

/// How soon a fault must be visible as "not ready", or the table right again.
const SOON: Duration = Duration::from_secs(15);
/// A watch that fell silent is given up after this time: bookmarks come once a minute
/// (crates/watcher/src/api/watch.rs).
const SILENCE: Duration = Duration::from_secs(100);

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrong {
    /// Nothing; objects change.
    Nothing,
    /// The API server, as the agent sees it, lies about a resource or about all.
    Lie(Option<&'static str>, Lie),
    /// All connections are cut this often.
    Cut(usize),
    /// The API server cannot be reached.
    Refuse,
    /// The watches end with 410 this often.
    Expire(usize),
    /// kube-apiserver is killed and started again.
    ServerCrash,
    /// etcd is restored from a snapshot.
    Restore,
    /// The agent is killed this often.
    Kill(usize),
    /// The agent is asked to stop, and started again.
    Terminate,
    /// The agent stands still.
    Stop,
    /// The agent can open no more files, and its connections break.
    FewFiles,
    /// The agent gets no more memory, and everything is listed again.
    LittleMemory,
    /// The agent is started again with a log that nobody reads.
    UnreadLog,
    /// Another program changes the tables.
    Damage(&'static str),
    /// All of connection tracking is deleted.
    FlushConntrack,
    /// Interfaces of pods get other names.
    Rename,
    /// Pods with interfaces come and go.
    Pods(usize),
}

/// One fault.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What.
    pub wrong: Wrong,
    /// For how long.
    pub hold: Duration,
    /// What begins with it.
    pub begin: Trigger,
    /// What ends with it.
    pub end: Trigger,
    /// The time from its end to a proof, or to a node that is visibly not ready.
    pub visible: Duration,
    /// The time from its end to a proof.
    pub healed: Duration,
}

/// What makes the agent ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Nothing.
    None,
    /// All connections break.
    Cut,
    /// All watches end with 410, so that everything is listed again.
    Expire,
}

/// How others change the tables. With an owner the kernel refuses it.
const DAMAGES: [&str; 6] = [
    "flush ruleset",
    "delete table inet nftpol",
    "flush chain inet nftpol forward",
    "insert rule inet nftpol forward accept",
    "flush table inet nftpol",
    "add table inet nftpol { flags dormant; }",
];
const RESOURCES: [&str; 3] = ["pods", "networkpolicies", "namespaces"];
/// A Namespace that is gone keeps its policies for as long as its pods may run. The tests
/// of histories follow that.
const NAMESPACED: [&str; 2] = ["pods", "networkpolicies"];
/// Draws after which a fault that never came does not exist.
const DRAWS: usize = 100_000;
const CODES: [u16; 8] = [401, 403, 410, 429, 431, 500, 503, 504];

impl Fault {
    fn of(wrong: Wrong, hold: Duration) -> Self {
        let healed = Duration::from_secs(45);
        Self { wrong, hold, begin: Trigger::None, end: Trigger::None, visible: SOON, healed }
    }

    fn begins(self, begin: Trigger) -> Self {
        Self { begin, ..self }
    }

    fn ends(self, end: Trigger) -> Self {
        Self { end, ..self }
    }

    fn healed_within(self, healed: Duration) -> Self {
        Self { healed, ..self }
    }

    /// Draws one of these words ([`Wrong::word`]), or any without a word. `quick`: only
    /// those that heal within seconds. `None` if no fault has such a word.
    pub fn draw_one_of(dice: &mut Dice, quick: bool, words: &[String]) -> Option<Self> {
        let mut drawn = (0..DRAWS).map(|_| Self::draw(dice, quick));
        drawn.find(|fault| words.is_empty() || words.contains(&fault.wrong.word()))
    }

    fn draw(dice: &mut Dice, quick: bool) -> Self {
        let hold = dice.time(1000, 5000);
        match dice.below(34) {
            0 => Self::of(Wrong::Nothing, hold),
            1 => Self::of(Wrong::Cut(1 + dice.below(5)), hold),
            2 => Self::of(Wrong::Refuse, hold).begins(Trigger::Cut),
            3 => Self::of(Wrong::Expire(1 + dice.below(4)), hold),
            4 => Self::of(Wrong::ServerCrash, hold),
            5 | 6 => Self::of(Wrong::Kill(1 + dice.below(4)), hold),
            7 => Self::of(Wrong::Terminate, hold),
            8 => Self::of(Wrong::Stop, hold),
            9 => Self::of(Wrong::FewFiles, hold).begins(Trigger::Cut),
            10 => Self::of(Wrong::LittleMemory, hold),
            11 => Self::of(Wrong::UnreadLog, hold),
            12..=14 => Self::of(Wrong::Damage(dice.one_of(&DAMAGES)), hold),
            15 => Self::of(Wrong::FlushConntrack, hold),
            16 => Self::of(Wrong::Rename, hold),
            17 => Self::of(Wrong::Pods(1 + dice.below(3)), hold),
            18 if !quick => Self::of(Wrong::Restore, hold),
            _ => Self::lie(dice, quick),
        }
    }

    /// A lie that is not in the plan: policies are left out, and the list looks complete.
    pub fn untrue(step: usize) -> Self {
        let namespace = ["a", "a-b", "c"][step % 3].to_owned();
        let lie = Wrong::Lie(Some("networkpolicies"), Lie::Only(namespace));
        Self::of(lie, Duration::from_secs(4)).begins(Trigger::Expire).ends(Trigger::Expire)
    }

    /// Draws a lie. Those that leave something untold end with a list.
    fn lie(dice: &mut Dice, quick: bool) -> Self {
        let hold = dice.time(1000, 5000);
        let of = dice.one_of(&[None, Some(RESOURCES[0]), Some(RESOURCES[1]), Some(RESOURCES[2])]);
        let one = Some(dice.one_of(&NAMESPACED));
        let lie = |of, lie| Self::of(Wrong::Lie(of, lie), hold);
        let listing = |of, it| lie(of, it).begins(Trigger::Expire);
        match dice.below(21) {
            0 => lie(of, Lie::Lag(dice.time(50, 900))),
            // What was swallowed stays so. A connection that breaks is noticed at once.
            1 => lie(of, Lie::Swallow).begins(Trigger::Cut).ends(Trigger::Cut),
            2 if !quick => lie(of, Lie::Swallow).begins(Trigger::Cut).healed_within(SILENCE),
            2 | 3 => lie(of, Lie::Answer(dice.one_of(&CODES))).begins(Trigger::Cut),
            4 => listing(of, Lie::Answer(dice.one_of(&CODES))),
            5 => listing(of, Lie::NoStreams),
            6 if !quick => {
                Self { visible: SILENCE, ..lie(of, Lie::HalfLine) }.healed_within(SILENCE)
            }
            6 => lie(of, Lie::HalfLine).ends(Trigger::Cut),
            7 => lie(of, Lie::CutLine),
            8 => lie(of, Lie::Twice),
            9 => lie(of, Lie::Again).ends(Trigger::Expire),
            10 => lie(of, Lie::Swapped).ends(Trigger::Expire),
            11 => lie(of, Lie::NoEvents).ends(Trigger::Expire),
            12 => listing(of, Lie::NoBookmarks).ends(Trigger::Expire),
            13 if !quick => Self { hold: Duration::from_secs(70), ..lie(of, Lie::AbsurdBookmarks) },
            13 | 14 => lie(of, Lie::Noise),
            15 => listing(of, Lie::Empty).ends(Trigger::Expire),
            16 => listing(of, Lie::Pages(1 + dice.below(4))),
            17 => listing(one, dice.one_of(&[Lie::LostPages(2), Lie::HalfLists])),
            18 => {
                let untrue = [Lie::Only(DEV.to_owned()), Lie::Stale];
                listing(one, dice.one_of(&untrue)).ends(Trigger::Expire)
            }
            19 => {
                let version = dice.one_of(&["9007199254740993", "1", "", "x"]);
                listing(of, Lie::Version(version.to_owned())).ends(Trigger::Expire)
            }
            _ => {
                let garbled = lie(one, Lie::Garbled(dice.below(WAYS_TO_GARBLE)));
                let begin = dice.one_of(&[Trigger::None, Trigger::Expire]);
                garbled.begins(begin).ends(Trigger::Expire)
            }
        }
    }
}

impl Wrong {
    /// One word, to count by.
    pub fn word(&self) -> String {
        let text = format!("{self:?}");
        match self {
            Self::Lie(_, lie) => {
                let lie = format!("{lie:?}");
                format!("lie {}", lie.split('(').next().unwrap_or_default())
            }
            Self::Damage(script) => format!("others: {script}"),
            _ => text.split('(').next().unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wrong, hold, begin, end, .. } = self;
        write!(
            f,
            "{wrong:?} for {:.1} s, begins with {begin:?}, ends with {end:?}",
            hold.as_secs_f64()
        )
    }
}
