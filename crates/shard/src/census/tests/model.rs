//! A Raft without a network and without time, whose replicas lose power and forget what they had in memory.

use crate::census::{Census, Standings, census, unasked};
use crate::rpc::Standing;
use journal::LogPosition;
use model::NodeId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// How many replicas there are, of which some vote.
const NODES: usize = 4;

/// Who votes: one set, or two while they change.
type Configs = Vec<Vec<NodeId>>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    term: u64,
    /// Set when it says who votes.
    configs: Option<Configs>,
    /// It is acknowledged from stable storage alone: it begins a term, or says who votes.
    is_synced: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doubt {
    #[default]
    Free,
    Unsettled,
    Permits(LogPosition),
}

#[derive(Clone, Debug, Default)]
struct Replica {
    log: Vec<Entry>,
    /// So much of it survives.
    stable: usize,
    /// The term that it is in; of it, it has given its vote.
    term: u64,
    leads: bool,
    doubt: Doubt,
    /// As a leader: how much the others have acknowledged, and how much is committed.
    matched: BTreeMap<usize, usize>,
    committed: usize,
}

/// What happens. Replicas are numbers that are brought into range; those that hear of it are bits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Stands for election.
    Elect {
        node: usize,
        by: u8,
    },
    Write {
        node: usize,
    },
    /// Goes on with changing who votes, or begins to.
    Change {
        node: usize,
        to: u8,
    },
    /// A leader's entries arrive, so many more than it had.
    Send {
        node: usize,
        to: usize,
        more: usize,
    },
    Flush {
        node: usize,
    },
    /// Power is lost, and with it all but so much of what is not on stable storage.
    Lose {
        node: usize,
        kept: usize,
    },
    /// One in doubt asks how the others stand.
    Ask {
        node: usize,
        heard: u8,
    },
    /// One in doubt is brought up to date by a leader that most have confirmed.
    CatchUp {
        node: usize,
        from: usize,
    },
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = || 0..NODES;
    let some = || any::<u8>();
    let step = prop_oneof![
        4 => (node(), some()).prop_map(|(node, by)| Step::Elect { node, by }),
        4 => node().prop_map(|node| Step::Write { node }),
        2 => (node(), some()).prop_map(|(node, to)| Step::Change { node, to }),
        12 => (node(), node(), 0..4usize).prop_map(|(node, to, more)| Step::Send { node, to, more }),
        1 => node().prop_map(|node| Step::Flush { node }),
        3 => (node(), 0..3usize).prop_map(|(node, kept)| Step::Lose { node, kept }),
        6 => (node(), some()).prop_map(|(node, heard)| Step::Ask { node, heard }),
        2 => (node(), node()).prop_map(|(node, from)| Step::CatchUp { node, from }),
    ];
    prop::collection::vec(step, 1..200)
}

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

fn number(node: NodeId) -> usize {
    node.0 as usize - 1
}

fn is_in(bits: u8, node: usize) -> bool {
    bits & (1 << node) != 0
}

fn most(configs: &[Vec<NodeId>], agrees: impl Fn(usize) -> bool) -> bool {
    let most = |config: &Vec<NodeId>| 2 * config.iter().filter(|node| agrees(number(**node))).count() > config.len();
    !configs.is_empty() && configs.iter().all(most)
}

impl Replica {
    fn last(&self) -> LogPosition {
        LogPosition { term: self.log.last().map_or(0, |entry| entry.term), index: self.log.len() as u64 }
    }

    /// Who votes, as last logged here.
    fn configs(&self) -> Configs {
        self.log.iter().rev().find_map(|entry| entry.configs.clone()).unwrap_or_default()
    }

    /// Whether a replica votes by what was last logged here, or by what was before, which may be what counts yet.
    fn has_vote(&self, node: usize) -> bool {
        let lately = self.log.iter().rev().filter_map(|entry| entry.configs.as_ref()).take(2);
        lately.flatten().flatten().any(|voter| *voter == id(node))
    }

    fn votes_for(&self, term: u64, last: LogPosition) -> bool {
        let is_allowed = match self.doubt {
            Doubt::Free => true,
            Doubt::Unsettled => false,
            Doubt::Permits(longest) => last >= longest,
        };
        self.term < term && last >= self.last() && is_allowed
    }

    fn push(&mut self, configs: Option<Configs>, is_synced: bool) {
        self.log.push(Entry { term: self.term, configs, is_synced });
        if is_synced {
            self.stable = self.log.len();
        }
    }
}

/// See the module's documentation.
pub(super) struct Cluster {
    replicas: Vec<Replica>,
    /// What clients were told: the term of each committed entry, and who voted then.
    acknowledged: BTreeMap<usize, (u64, Configs)>,
}

impl Cluster {
    /// The first so many vote.
    pub(super) fn founded(voters: usize) -> Self {
        let mut replicas = vec![Replica::default(); NODES];
        let configs: Configs = vec![(0..voters).map(id).collect()];
        replicas[..voters].iter_mut().for_each(|replica| replica.push(Some(configs.clone()), true));
        Cluster { replicas, acknowledged: BTreeMap::new() }
    }

    /// This one, if it leads, or else the one that does.
    fn leader(&self, node: usize) -> Option<usize> {
        let newest = (0..NODES).filter(|node| self.replicas[*node].leads).max_by_key(|node| self.replicas[*node].term);
        if self.replicas[node].leads { Some(node) } else { newest }
    }

    /// # Errors
    /// What was lost.
    pub(super) fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Elect { node, by } => self.elect(node, by)?,
            Step::Write { node } => {
                if let Some(leader) = self.leader(node) {
                    self.replicas[leader].push(None, false);
                    self.commit(leader);
                }
            }
            Step::Change { node, to } => self.change(self.leader(node).unwrap_or(node), to),
            Step::Send { node, to, more } => self.send(self.leader(node).unwrap_or(node), to, more),
            Step::Flush { node } => self.replicas[node].stable = self.replicas[node].log.len(),
            Step::Lose { node, kept } => {
                let replica = &mut self.replicas[node];
                replica.log.truncate(replica.stable + kept);
                replica.stable = replica.log.len();
                (replica.leads, replica.doubt) = (false, Doubt::Unsettled);
            }
            Step::Ask { node, heard } => self.ask(node, heard),
            Step::CatchUp { node, from } => self.catch_up(node, self.leader(from).unwrap_or(from))?,
        }
        Ok(())
    }

    fn elect(&mut self, node: usize, by: u8) -> Result<(), String> {
        let candidate = &self.replicas[node];
        let (term, last, configs) = (candidate.term + 1, candidate.last(), candidate.configs());
        let may_stand = match candidate.doubt {
            Doubt::Free => true,
            Doubt::Unsettled => false,
            Doubt::Permits(longest) => last == longest,
        };
        if candidate.leads || !may_stand || !candidate.has_vote(node) {
            return Ok(());
        }
        let voters: BTreeSet<usize> = configs.iter().flatten().copied().map(number).collect();
        let asked = voters.into_iter().filter(|voter| *voter == node || is_in(by, *voter));
        let votes: Vec<usize> = asked.filter(|voter| self.replicas[*voter].votes_for(term, last)).collect();
        // Whoever stands votes for itself, whether that counts or not.
        self.replicas[node].term = term;
        for voter in &votes {
            let voter = &mut self.replicas[*voter];
            (voter.term, voter.leads) = (term, false);
        }
        if most(&configs, |voter| votes.contains(&voter)) {
            self.has_all(node, "leads")?;
            let leader = &mut self.replicas[node];
            (leader.leads, leader.committed) = (true, 0);
            leader.matched.clear();
            leader.push(None, true);
            self.commit(node);
        }
        Ok(())
    }

    fn change(&mut self, node: usize, to: u8) {
        let leader = &self.replicas[node];
        let logged = leader.log.iter().rposition(|entry| entry.configs.is_some());
        if !leader.leads || logged.is_some_and(|index| index >= leader.committed) {
            return;
        }
        let mut configs = leader.configs();
        if configs.len() == 1 {
            // Who is to vote has caught up.
            let has = |voter: usize| leader.matched.get(&voter).is_some_and(|matched| *matched >= leader.committed);
            let leaves = is_in(to, NODES) && is_in(to, NODES + 1);
            let votes = |voter: usize| if voter == node { !leaves } else { is_in(to, voter) && has(voter) };
            let voters: Vec<NodeId> = (0..NODES).filter(|voter| votes(*voter)).map(id).collect();
            if voters.is_empty() {
                return;
            }
            configs.push(voters);
        } else {
            configs.remove(0);
        }
        // Who would have no vote any more hands over, if anybody can take over.
        self.replicas[node].push(Some(configs), true);
        self.commit(node);
    }

    fn send(&mut self, node: usize, to: usize, more: usize) {
        let leader = self.replicas[node].clone();
        if node == to || !leader.leads || leader.term < self.replicas[to].term {
            return;
        }
        let follower = &mut self.replicas[to];
        (follower.term, follower.leads) = (leader.term, false);
        let common = follower.log.iter().zip(&leader.log).take_while(|(one, other)| one == other).count();
        let end = leader.log.len().min(common + more);
        if end > common {
            follower.log.truncate(common);
            follower.stable = follower.stable.min(common);
            follower.log.extend_from_slice(&leader.log[common..end]);
            let synced = follower.log.iter().rposition(|entry| entry.is_synced).map_or(0, |index| index + 1);
            follower.stable = follower.stable.max(synced);
        }
        // What it acknowledged before counts, too, although it may have forgotten it.
        let matched = self.replicas[node].matched.entry(to).or_default();
        *matched = end.max(*matched);
        self.commit(node);
    }

    /// Tells clients what is committed now.
    fn commit(&mut self, node: usize) {
        let leader = &self.replicas[node];
        let configs = leader.configs();
        let has = |voter: usize, end: usize| voter == node || leader.matched.get(&voter).is_some_and(|has| *has >= end);
        let ends = (leader.committed + 1..=leader.log.len()).rev();
        let mut own = ends.filter(|end| leader.log[*end - 1].term == leader.term);
        let Some(committed) = own.find(|end| most(&configs, |voter| has(voter, *end))) else { return };
        for index in 0..committed {
            let term = self.replicas[node].log[index].term;
            self.acknowledged.entry(index).or_insert((term, configs.clone()));
        }
        self.replicas[node].committed = committed;
    }

    fn standing(&self, node: usize) -> Standing {
        let replica = &self.replicas[node];
        let in_doubt = replica.doubt != Doubt::Free;
        Standing {
            last: replica.last(),
            in_doubt,
            has_room: true,
            leading: None,
            confirmed: false,
            voters: replica.configs(),
        }
    }

    fn ask(&mut self, node: usize, heard: u8) {
        if self.replicas[node].doubt == Doubt::Free {
            return;
        }
        let (mut standings, mut silent) = (Standings::from([(id(node), self.standing(node))]), BTreeSet::new());
        loop {
            let asked = unasked(&standings, &silent);
            if asked.is_empty() {
                break;
            }
            for voter in asked {
                if is_in(heard, number(voter)) {
                    standings.insert(voter, self.standing(number(voter)));
                } else {
                    silent.insert(voter);
                }
            }
        }
        self.replicas[node].doubt = match census(&standings) {
            Census::Wait => Doubt::Unsettled,
            Census::Longest(longest) => Doubt::Permits(longest),
        };
    }

    fn catch_up(&mut self, node: usize, from: usize) -> Result<(), String> {
        let (leader, replica) = (&self.replicas[from], &self.replicas[node]);
        if replica.doubt == Doubt::Free || !leader.leads || node == from || leader.term < replica.term {
            return Ok(());
        }
        if !most(&leader.configs(), |voter| self.replicas[voter].term <= leader.term) {
            return Ok(());
        }
        self.send(from, node, usize::MAX / 2);
        self.has_all(node, "is no longer in doubt")?;
        let replica = &mut self.replicas[node];
        (replica.stable, replica.doubt) = (replica.log.len(), Doubt::Free);
        Ok(())
    }

    /// Everything that clients were told of and somebody who voted then still has.
    fn has_all(&self, node: usize, does: &str) -> Result<(), String> {
        for (index, (term, configs)) in &self.acknowledged {
            let has = |node: usize| self.replicas[node].log.get(*index).is_some_and(|entry| entry.term == *term);
            let mut others = configs.iter().flatten().copied().map(number);
            if !has(node) && others.any(has) {
                let replicas = &self.replicas;
                return Err(format!("{node} {does} and lacks entry {index} of term {term}: {replicas:#?}"));
            }
        }
        Ok(())
    }
}
