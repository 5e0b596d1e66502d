//! Joining: the first half of a rebalance.

use super::error::GroupError;
use super::group::{Group, Phase};
use super::member::Member;
use super::output::{Token, Turn};
use super::reply::GroupReply;
use super::request::{JoinRequest, Protocol};
use super::stored::{MEMBERS_BYTES_MAX, StoredMember, TEXT_BYTES_MAX};
use bytes::Bytes;
use std::collections::BTreeSet;

impl Group {
    /// A member, or one that wants to be, joins the next generation.
    pub(super) fn join(&mut self, turn: &mut Turn<'_>, token: Token, request: JoinRequest) {
        let asked = request.member.clone();
        if let Err(error) = self.try_join(turn, token, request) {
            turn.reply(token, GroupReply::Refused { error, member: asked });
        }
    }

    /// Refuses, or takes care of the answer.
    fn try_join(&mut self, turn: &mut Turn<'_>, token: Token, request: JoinRequest) -> Result<(), GroupError> {
        if matches!(self.phase, Phase::Dead { .. }) {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        let session_timeout =
            turn.config.session_timeout(request.session_timeout).ok_or(GroupError::InvalidSessionTimeout)?;
        let mut kept = StoredMember {
            id: request.member,
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout,
            rebalance_timeout: turn.config.rebalance_timeout(request.rebalance_timeout),
            protocols: own(request.protocols),
            assignment: Bytes::new(),
        };
        let replaced = self.replaced(&kept);
        let is_new = kept.id.is_empty();
        if is_new && replaced.is_none() && !self.has_room(turn.config) {
            return Err(GroupError::GroupMaxSize);
        }
        if !self.supports(&request.protocol_type, &kept.protocols) {
            return Err(GroupError::InconsistentProtocol);
        }
        if is_new {
            kept.id = self.new_id(kept.instance.as_deref().unwrap_or(&kept.client_id), request.random);
        }
        self.check_size(&kept, &request.protocol_type, replaced.as_deref())?;
        let type_of_group = request.protocol_type;
        match replaced {
            Some(old) if is_new => self.replace_static(turn, token, &old, kept, request.can_skip_assignment),
            _ if is_new && kept.instance.is_none() && request.member_id_required => {
                let (member, expires) = (kept.id, turn.now.plus(session_timeout));
                self.pending.insert(member.clone(), expires);
                self.wake_by(expires);
                turn.reply(token, GroupReply::Refused { error: GroupError::MemberIdRequired, member });
            }
            _ if is_new => self.add(turn, token, kept, type_of_group),
            // Only dynamic members are told to come back.
            _ if self.pending.contains_key(&kept.id) && kept.instance.is_none() => {
                self.pending.remove(&kept.id);
                self.add(turn, token, kept, type_of_group);
            }
            _ => {
                self.check_member(&kept.id, kept.instance.as_deref())?;
                self.rejoin(turn, token, kept);
            }
        }
        Ok(())
    }

    /// The member whose place this one takes: itself, or the one with its static id.
    fn replaced(&self, kept: &StoredMember) -> Option<String> {
        match &kept.instance {
            Some(instance) if kept.id.is_empty() => self.members.static_id(instance).map(str::to_owned),
            _ => self.members.contains(&kept.id).then(|| kept.id.clone()),
        }
    }

    /// Whether the group could still agree on a protocol.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let shared = |protocol: &Protocol| self.members.supported_by_all(&protocol.name);
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(shared)
    }

    /// Whether the group could still be stored.
    fn check_size(&self, kept: &StoredMember, protocol_type: &str, replaced: Option<&str>) -> Result<(), GroupError> {
        let names = kept.protocols.iter().map(|protocol| protocol.name.as_str());
        let texts = [&kept.id, &kept.client_id, &kept.client_host].map(String::as_str);
        let mut texts = names.chain(texts).chain(kept.instance.as_deref()).chain([protocol_type]);
        let before = replaced.and_then(|id| self.members.get(id)).map_or(0, |member| member.kept.bytes());
        if texts.any(|text| text.len() > TEXT_BYTES_MAX)
            || self.members.bytes() - before + kept.bytes() > MEMBERS_BYTES_MAX
        {
            return Err(GroupError::TooLarge);
        }
        Ok(())
    }

    /// An id that nobody has: a name and a UUID, as Kafka's.
    fn new_id(&self, name: &str, mut random: u128) -> String {
        loop {
            let hex = format!("{random:032x}");
            let id = format!("{name}-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
            if !self.members.contains(&id) && !self.pending.contains_key(&id) {
                return id;
            }
            random = random.wrapping_add(1);
        }
    }

    fn add(&mut self, turn: &mut Turn<'_>, token: Token, kept: StoredMember, protocol_type: String) {
        let id = kept.id.clone();
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type);
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(Member::new(kept, turn.now));
        self.wait_to_join(turn, token, &id);
        if let Phase::Preparing { initial: Some(initial), .. } = &mut self.phase {
            initial.joined = true;
        }
        self.rebalance(turn);
    }

    /// A known member joins again.
    fn rejoin(&mut self, turn: &mut Turn<'_>, token: Token, kept: StoredMember) {
        let id = kept.id.clone();
        let unchanged = self.members.get(&id).is_some_and(|member| member.kept.protocols == kept.protocols);
        // The answer to its last join may have been lost. The leader of a stable group is different:
        // it joins because partitions or members' wishes have changed in ways that only it sees.
        let repeats = match self.phase {
            Phase::Completing { .. } => unchanged,
            Phase::Stable { .. } => unchanged && !self.is_leader(&id),
            _ => false,
        };
        if repeats {
            self.refresh(&id, turn.now);
            let joined = self.joined(&id);
            self.reply_stored(turn, token, GroupReply::Joined(joined));
        } else {
            self.update(kept);
            self.wait_to_join(turn, token, &id);
            self.rebalance(turn);
        }
    }

    /// A static member has restarted: it takes the place, and the assignment, of its predecessor
    /// (KIP-345). While the group is stable that needs no rebalance.
    fn replace_static(
        &mut self,
        turn: &mut Turn<'_>,
        token: Token,
        old: &str,
        kept: StoredMember,
        can_skip_assignment: bool,
    ) {
        let Some(mut member) = self.members.remove(old) else { return };
        for waiting in member.joining().into_iter().chain(member.syncing.take()) {
            turn.reply(waiting, GroupReply::Refused { error: GroupError::FencedInstance, member: old.to_owned() });
        }
        let id = kept.id.clone();
        let assignment = std::mem::take(&mut member.kept.assignment);
        let mut new = Member::new(StoredMember { assignment, ..kept }, turn.now);
        new.synced = member.synced;
        self.members.insert(new);
        self.refresh(&id, turn.now);
        let old_leader = self.leader.clone().unwrap_or_default();
        if self.is_leader(old) {
            self.leader = Some(id.clone());
        }
        if matches!(self.phase, Phase::Stable { .. }) && self.members.choose_protocol() == self.protocol {
            let mut joined = self.joined(&id);
            if can_skip_assignment {
                joined.skip_assignment = self.is_leader(&id);
            } else {
                // Told that it leads, an older client would assign. It is made to believe that the
                // member before it still leads (KIP-814 says why).
                joined.leader = old_leader;
                joined.members.clear();
            }
            self.save(turn, vec![(token, GroupReply::Joined(joined))]);
        } else {
            // In the other phases the leader may be about to assign to the old id.
            self.wait_to_join(turn, token, &id);
            self.rebalance(turn);
        }
    }

    /// Takes over what a member now says of itself; its assignment stays.
    fn update(&mut self, kept: StoredMember) {
        self.members.update(&kept.id, kept.protocols, kept.session_timeout, kept.rebalance_timeout);
    }

    /// Lets a join wait for the end of the join phase. One that waited before is a repeated request.
    fn wait_to_join(&mut self, turn: &mut Turn<'_>, token: Token, id: &str) {
        if let Some(before) = self.members.set_joining(id, Some(token)) {
            let reply = GroupReply::Refused { error: GroupError::RebalanceInProgress, member: id.to_owned() };
            turn.reply(before, reply);
        }
    }
}

/// The protocols without repetitions, in memory of their own: a slice would pin its network buffer.
fn own(protocols: Vec<Protocol>) -> Vec<Protocol> {
    let mut names = BTreeSet::new();
    let first = protocols.into_iter().filter(|protocol| names.insert(protocol.name.clone()));
    first.map(|Protocol { name, metadata }| Protocol { name, metadata: Bytes::copy_from_slice(&metadata) }).collect()
}
