//! What the environment does to messages and store operations at the moment: cuts, slow and lossy
//! links, a refusing, slow or silent store. Holds the rules in force; whoever picks the next step
//! asks them and draws.
//!
//! Sources: Jepsen's nemeses (directed partitions, slow links), AWS's guidance on 503 SlowDown,
//! aws-sdk-java-v2 #6580 (lost answer to a put that was applied), AutoMQ feaf4f0248 (a hedged put
//! lands later).

use crate::plan::{Direction, Fate, What};
use crate::world::layout::{Endpoint, Layout, Set};

/// The number of a fault in its plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FaultId(pub u16);

/// The rules in force, each with the fault that brought it.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Weather {
    /// Messages from the first to the second are lost.
    cuts: Vec<(FaultId, Set, Set)>,
    /// Messages from the first to the second take this much longer, µs.
    slow: Vec<(FaultId, Set, Set, u64)>,
    lossy: Vec<(FaultId, Lossy)>,
    slow_down: Vec<(FaultId, u32)>,
    brown_out: Vec<(FaultId, u32)>,
    lose_answer: Vec<(FaultId, LoseAnswer)>,
    duplicate: Vec<(FaultId, DuplicatePut)>,
}

/// Messages between nodes suffer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lossy {
    /// Lost, per mille.
    pub drop_pm: u32,
    /// Doubled, per mille.
    pub duplicate_pm: u32,
    /// Held back, per mille.
    pub hold_pm: u32,
    /// By at most, µs.
    pub hold_us_max: u64,
}

/// Answers of the store are lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LoseAnswer {
    /// Whose, or everyone's.
    pub of: Option<Endpoint>,
    /// Per mille.
    pub per_mille: u32,
    /// What becomes of the operation.
    pub fate: Fate,
    /// How often at most; 0: always. The caller counts.
    pub times: u32,
}

/// Puts come twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DuplicatePut {
    /// Whose, or everyone's.
    pub of: Option<Endpoint>,
    /// Per mille.
    pub per_mille: u32,
    /// The second one comes later by at most, µs.
    pub later_us_max: u64,
}

impl Weather {
    /// Brings a rule into force, if the fault is one of the environment's. `on` is who `self` is.
    pub fn impose(&mut self, layout: &Layout, id: FaultId, what: &What, on: Option<Endpoint>) {
        let whose = |name: &Option<String>| name.as_ref().and_then(|name| layout.by_name(name, on));
        let set = |names: &[String]| layout.set_by_names(names, on).unwrap_or_default();
        match what {
            What::ZoneFail { zone } => {
                let Some(zone) = layout.zone_by_name(zone, on) else { return };
                let members = layout.zone_members(zone);
                self.cuts.push((id, members, layout.everyone()));
                self.cuts.push((id, layout.everyone(), members));
            }
            What::ZoneCut { zone, direction } => {
                let Some(zone) = layout.zone_by_name(zone, on) else { return };
                let members = layout.zone_members(zone);
                let others = layout.everyone().without(members);
                if matches!(direction, Direction::In | Direction::Both) {
                    self.cuts.push((id, others, members));
                }
                if matches!(direction, Direction::Out | Direction::Both) {
                    self.cuts.push((id, members, others));
                }
            }
            What::Cut { from, to } => self.cuts.push((id, set(from), set(to))),
            What::SlowLink { from, to, by_us } => {
                self.slow.push((id, set(from), set(to), *by_us));
            }
            What::Lossy { drop_pm, duplicate_pm, hold_pm, hold_us_max } => {
                let (drop_pm, duplicate_pm) = (*drop_pm, *duplicate_pm);
                let (hold_pm, hold_us_max) = (*hold_pm, *hold_us_max);
                self.lossy.push((id, Lossy { drop_pm, duplicate_pm, hold_pm, hold_us_max }));
            }
            What::StoreSlowDown { per_mille } => self.slow_down.push((id, *per_mille)),
            What::StoreBrownOut { factor } => self.brown_out.push((id, *factor)),
            What::StoreLoseAnswer { node, per_mille, fate, times } => {
                let (of, per_mille) = (whose(node), *per_mille);
                let (fate, times) = (*fate, *times);
                self.lose_answer.push((id, LoseAnswer { of, per_mille, fate, times }));
            }
            What::StoreDuplicate { node, per_mille, later_us_max } => {
                let (of, per_mille) = (whose(node), *per_mille);
                let later_us_max = *later_us_max;
                self.duplicate.push((id, DuplicatePut { of, per_mille, later_us_max }));
            }
            What::Crash { .. }
            | What::Pause { .. }
            | What::ClockStep { .. }
            | What::ClockDrift { .. }
            | What::DeviceSyncFail { .. }
            | What::DeviceFull { .. }
            | What::DeviceBitRot { .. }
            | What::Drain { .. } => {}
        }
    }

    /// Takes the rules of a fault out of force.
    pub fn lift(&mut self, id: FaultId) {
        self.cuts.retain(|rule| rule.0 != id);
        self.slow.retain(|rule| rule.0 != id);
        self.lossy.retain(|rule| rule.0 != id);
        self.slow_down.retain(|rule| rule.0 != id);
        self.brown_out.retain(|rule| rule.0 != id);
        self.lose_answer.retain(|rule| rule.0 != id);
        self.duplicate.retain(|rule| rule.0 != id);
    }

    /// The safety phase ended: only cuts of the faults in `lasting` stay. They now part the nodes
    /// `outside` the core from everyone, and spare the clients of their zone: these must come to an
    /// end with what is left.
    pub fn heal(&mut self, layout: &Layout, lasting: &[FaultId], outside: Set) {
        let cuts = std::mem::take(&mut self.cuts);
        let clients = layout.all_clients();
        let kept = cuts.into_iter().filter(|rule| lasting.contains(&rule.0));
        let cuts = kept.map(|(id, from, to)| {
            let (from, to) = (from.without(clients), to.without(clients));
            match from.without(outside).is_empty() {
                true => (id, from, layout.everyone().without(from)),
                false => (id, layout.everyone().without(to), to),
            }
        });
        *self = Self { cuts: cuts.collect(), ..Self::default() };
    }

    /// Whether any rule is in force.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        *self == Self::default()
    }

    /// The fault that loses messages from one to the other, if any.
    #[must_use]
    pub fn cut(&self, from: Endpoint, to: Endpoint) -> Option<FaultId> {
        let hit = self.cuts.iter().find(|rule| rule.1.holds(from) && rule.2.holds(to));
        hit.map(|rule| rule.0)
    }

    /// The faults that slow messages from one to the other, and by how much, µs.
    pub fn slow(&self, from: Endpoint, to: Endpoint) -> impl Iterator<Item = (FaultId, u64)> + '_ {
        let hits = self.slow.iter().filter(move |rule| rule.1.holds(from) && rule.2.holds(to));
        hits.map(|rule| (rule.0, rule.3))
    }

    /// The faults that make messages between nodes suffer.
    #[must_use]
    pub fn lossy(&self) -> &[(FaultId, Lossy)] {
        &self.lossy
    }

    /// The faults that refuse operations, and how many per mille.
    #[must_use]
    pub fn slow_down(&self) -> &[(FaultId, u32)] {
        &self.slow_down
    }

    /// The faults that slow the store, and their factors.
    #[must_use]
    pub fn brown_out(&self) -> &[(FaultId, u32)] {
        &self.brown_out
    }

    /// The faults that lose answers of the store.
    #[must_use]
    pub fn lose_answer(&self) -> &[(FaultId, LoseAnswer)] {
        &self.lose_answer
    }

    /// The faults that double puts.
    #[must_use]
    pub fn duplicate(&self) -> &[(FaultId, DuplicatePut)] {
        &self.duplicate
    }

    /// Who can not reach, or be reached by, someone.
    #[must_use]
    pub fn impaired(&self) -> Set {
        self.cuts
            .iter()
            .filter(|(_, from, to)| !from.is_empty() && !to.is_empty())
            .fold(Set::default(), |set, (_, from, to)| set.or(*from).or(*to))
    }
}
