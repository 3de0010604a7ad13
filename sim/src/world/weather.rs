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
    /// Requests, so many per mille, are held back by at most so many µs.
    stall: Vec<(FaultId, u32, u64)>,
    slow_down: Vec<(FaultId, u32)>,
    empty_page: Vec<(FaultId, u32)>,
    damage: Vec<(FaultId, u32)>,
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
            What::ZoneStoreLost { zone } => {
                let Some(zone) = layout.zone_by_name(zone, on) else { return };
                let members = layout.zone_members(zone);
                let store = Set::from_iter([layout.store()]);
                self.cuts.push((id, members, store));
                self.cuts.push((id, store, members));
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
            What::Stall { per_mille, by_us_max } => self.stall.push((id, *per_mille, *by_us_max)),
            What::StoreSlowDown { per_mille } => self.slow_down.push((id, *per_mille)),
            What::StoreEmptyPage { per_mille } => self.empty_page.push((id, *per_mille)),
            What::StoreDamage { per_mille } => self.damage.push((id, *per_mille)),
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
            | What::Query { .. }
            | What::Drain { .. } => {}
        }
    }

    /// Takes the rules of a fault out of force.
    pub fn lift(&mut self, id: FaultId) {
        self.cuts.retain(|rule| rule.0 != id);
        self.slow.retain(|rule| rule.0 != id);
        self.lossy.retain(|rule| rule.0 != id);
        self.stall.retain(|rule| rule.0 != id);
        self.slow_down.retain(|rule| rule.0 != id);
        self.empty_page.retain(|rule| rule.0 != id);
        self.damage.retain(|rule| rule.0 != id);
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

    /// The faults that hold requests back: how many per mille, and by how many µs at most.
    #[must_use]
    pub fn stall(&self) -> &[(FaultId, u32, u64)] {
        &self.stall
    }

    /// The faults that refuse operations, and how many per mille.
    #[must_use]
    pub fn slow_down(&self) -> &[(FaultId, u32)] {
        &self.slow_down
    }

    /// The faults that answer lists with empty pages, and how many per mille.
    #[must_use]
    pub fn empty_page(&self) -> &[(FaultId, u32)] {
        &self.empty_page
    }

    /// The faults that damage what gets bring, and how many per mille.
    #[must_use]
    pub fn damage(&self) -> &[(FaultId, u32)] {
        &self.damage
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decider::tests::plan;

    const ID: FaultId = FaultId(0);

    fn layout() -> Layout {
        Layout::new(&plan(Vec::new())).expect("a good plan")
    }

    fn weather(what: &What, on: Option<&str>) -> Weather {
        let layout = layout();
        let mut weather = Weather::default();
        weather.impose(&layout, ID, what, on.and_then(|name| layout.by_name(name, None)));
        weather
    }

    fn cut(weather: &Weather, from: &str, to: &str) -> bool {
        let layout = layout();
        let [from, to] = [from, to].map(|name| layout.by_name(name, None).expect("a name"));
        weather.cut(from, to).is_some()
    }

    #[test]
    fn weather_zone_cut_parts_the_zone_from_the_rest_in_its_direction_only() {
        let zone = || "zone-1".to_owned();
        for (direction, goes_in, goes_out) in [
            (Direction::In, true, false),
            (Direction::Out, false, true),
            (Direction::Both, true, true),
        ] {
            let weather = weather(&What::ZoneCut { zone: zone(), direction }, None);
            for (inside, outside) in [
                ("broker-1", "broker-0"),
                ("controller-1", "controller-2"),
                ("broker-1", "store"),
                ("client-1", "broker-2"),
                ("broker-1", "client-0"),
            ] {
                assert_eq!(cut(&weather, outside, inside), goes_in, "{direction:?} {inside}");
                assert_eq!(cut(&weather, inside, outside), goes_out, "{direction:?} {inside}");
            }
            assert!(!cut(&weather, "broker-1", "controller-1"), "within the zone");
            assert!(!cut(&weather, "broker-0", "broker-2"), "between other zones");
        }
    }

    #[test]
    fn weather_zone_without_the_store_reaches_all_else() {
        let weather = weather(&What::ZoneStoreLost { zone: "zone-1".to_owned() }, None);
        assert!(cut(&weather, "broker-1", "store") && cut(&weather, "store", "broker-1"));
        assert!(!cut(&weather, "broker-0", "store") && !cut(&weather, "store", "broker-0"));
        assert!(
            !cut(&weather, "broker-1", "controller-0") && !cut(&weather, "client-0", "broker-1")
        );
    }

    #[test]
    fn weather_zone_failure_parts_its_members_from_everyone() {
        let weather = weather(&What::ZoneFail { zone: "zone-1".to_owned() }, None);
        for other in ["broker-0", "controller-1", "client-1", "store"] {
            assert!(cut(&weather, "client-1", other) && cut(&weather, other, "broker-1"));
        }
        assert!(!cut(&weather, "broker-0", "store"));
    }

    #[test]
    fn weather_cut_of_self_is_of_the_node_that_triggered_it() {
        let what = What::Cut { from: vec!["self".to_owned()], to: vec!["store".to_owned()] };
        let weather = weather(&what, Some("broker-2"));
        assert!(cut(&weather, "broker-2", "store"));
        assert!(!cut(&weather, "store", "broker-2") && !cut(&weather, "broker-1", "store"));
    }

    #[test]
    fn weather_healed_keeps_only_what_lasts_and_spares_the_clients_of_the_zone() {
        let layout = layout();
        let zone = layout.zone_by_name("zone-1", None).expect("a zone");
        let outside = layout.zone_members(zone).without(layout.all_clients());
        let what = What::ZoneCut { zone: "zone-1".to_owned(), direction: Direction::Both };
        let mut weather = weather(&what, None);
        weather.impose(&layout, FaultId(1), &What::StoreBrownOut { factor: 9 }, None);
        let mut gone = weather.clone();
        gone.heal(&layout, &[], Set::default());
        assert_eq!(gone, Weather::default());
        weather.heal(&layout, &[ID], outside);
        assert!(weather.brown_out().is_empty());
        assert!(cut(&weather, "broker-1", "store") && cut(&weather, "broker-0", "broker-1"));
        assert!(cut(&weather, "client-1", "broker-1") && cut(&weather, "broker-1", "client-0"));
        assert!(!cut(&weather, "client-1", "broker-0") && !cut(&weather, "broker-2", "client-1"));
    }
}
