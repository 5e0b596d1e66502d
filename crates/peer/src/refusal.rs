//! Why connections of others were not let in, in as many words as a counter has.

use crate::codec::answer::Verdict;
use crate::codec::greeting::GreetingError;
use crate::handshake::Failure;

/// See the module's documentation. The log tells more, and so is whoever was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The handshake took too long.
    Slow,
    /// The connection ended before the handshake did.
    Ended,
    /// What it said is no node's message.
    Garbage,
    /// Only one side encrypts, or one does not trust the other's certificate.
    Insecure,
    /// There is no version of the protocol that both speak.
    Version,
    /// It belongs to another cluster.
    Cluster,
    /// It looked for another node.
    Node,
    /// It asked for a lane that is not known here.
    Lane,
    /// Only one side has a secret of the cluster, or each has another.
    Secret,
    /// As many connections as there may be are open.
    Full,
}

impl Refusal {
    /// All there are, in the order of their numbers.
    pub const ALL: [Refusal; 10] = [
        Refusal::Slow,
        Refusal::Ended,
        Refusal::Garbage,
        Refusal::Insecure,
        Refusal::Version,
        Refusal::Cluster,
        Refusal::Node,
        Refusal::Lane,
        Refusal::Secret,
        Refusal::Full,
    ];

    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Slow => "slow",
            Refusal::Ended => "ended",
            Refusal::Garbage => "garbage",
            Refusal::Insecure => "insecure",
            Refusal::Version => "version",
            Refusal::Cluster => "cluster",
            Refusal::Node => "node",
            Refusal::Lane => "lane",
            Refusal::Secret => "secret",
            Refusal::Full => "full",
        }
    }

    pub(crate) fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Io(_) => Refusal::Ended,
            Failure::Insecure(_) | Failure::Greeting(GreetingError::Tls) => Refusal::Insecure,
            Failure::Greeting(_) => Refusal::Garbage,
            Failure::Refused { why, .. } => match why {
                Verdict::NoCommonVersion => Refusal::Version,
                Verdict::OtherCluster => Refusal::Cluster,
                Verdict::OtherNode => Refusal::Node,
                Verdict::UnknownLane => Refusal::Lane,
                Verdict::Full => Refusal::Full,
                Verdict::OneSidedSecret | Verdict::OtherSecret => Refusal::Secret,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_has_a_number_and_a_name_of_its_own() {
        assert!(Refusal::ALL.iter().enumerate().all(|(number, why)| *why as usize == number));
        let names: BTreeSet<&str> = Refusal::ALL.into_iter().map(Refusal::name).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
}
