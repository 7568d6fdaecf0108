//! Failures by what follows from them, for metrics and reports.

/// The kind of a [`super::WatchError`], for the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// 401 or 403.
    Forbidden,
    /// 410: the objects are listed again.
    Expired,
    /// No answer, or one that broke off.
    Connection,
    /// An object or an answer that cannot be read.
    Decode,
    /// History went back: the objects are listed again.
    WentBack,
    /// An answer contradicts another one.
    Contradicted,
    /// The API server is of another cluster.
    OtherCluster,
    /// Any other answer.
    Other,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Forbidden,
        Self::Expired,
        Self::Connection,
        Self::Decode,
        Self::WentBack,
        Self::Contradicted,
        Self::OtherCluster,
        Self::Other,
    ];

    /// The value of the label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Expired => "expired",
            Self::Connection => "connection",
            Self::Decode => "decode",
            Self::WentBack => "went_back",
            Self::Contradicted => "contradicted",
            Self::OtherCluster => "other_cluster",
            Self::Other => "other",
        }
    }
}
