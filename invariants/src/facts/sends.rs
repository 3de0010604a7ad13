//! Every produce by its values. Each record that is read asks for its produce several times, and
//! readers of a partition go from batch to batch or are close behind the producers: there it is
//! looked for first.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::clients::Send;

/// Produces, by their first values.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Sends {
    /// In the order in which they began.
    all: Vec<Begun>,
    /// Where each first value is in it.
    places: BTreeMap<u64, u32>,
    /// By partition.
    trails: Vec<Option<Trail>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Begun {
    first_value: u64,
    send: Send,
    /// The partition's next one; itself, if there is none yet.
    next: u32,
}

impl Begun {
    fn holds(&self, value: u64) -> bool {
        value.checked_sub(self.first_value).is_some_and(|nth| nth < u64::from(self.send.count))
    }
}

/// Two produces of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Trail {
    newest: u32,
    /// The one that was asked for last.
    last: u32,
}

impl Sends {
    pub(crate) fn insert(&mut self, first_value: u64, send: Send) {
        let place = u32::try_from(self.all.len()).expect("fewer than 2^32 produces");
        self.places.insert(first_value, place);
        let here = send.partition as usize;
        if here >= self.trails.len() {
            self.trails.resize(here + 1, None);
        }
        let trail = self.trails[here].get_or_insert(Trail { newest: place, last: place });
        if let Some(before) = self.all.get_mut(trail.newest as usize) {
            before.next = place;
        }
        trail.newest = place;
        self.all.push(Begun { first_value, send, next: place });
    }

    pub(crate) fn get_mut(&mut self, first_value: &u64) -> Option<&mut Send> {
        // Most calls end soon after they began.
        let recent = self.all.len().saturating_sub(RECENT);
        let here = |begun: &Begun| begun.first_value == *first_value;
        let place = match self.all[recent..].iter().rposition(here) {
            Some(nth) => recent + nth,
            None => *self.places.get(first_value)? as usize,
        };
        Some(&mut self.all[place].send)
    }

    /// The produce that sent this value, and the value's place in it; the value was seen in the
    /// partition `here`.
    pub(crate) fn of(&mut self, value: u64, here: u32) -> Option<(&mut Send, u64)> {
        let mut trail = self.trails.get_mut(here as usize).and_then(Option::as_mut);
        let likely = trail
            .as_ref()
            .map(|trail| [trail.last, self.all[trail.last as usize].next, trail.newest]);
        let mut likely = likely.into_iter().flatten();
        let place = match likely.find(|place| self.all[*place as usize].holds(value)) {
            Some(place) => place,
            None => *self.places.range(..=value).next_back()?.1,
        };
        if let Some(trail) = &mut trail {
            trail.last = place;
        }
        let begun = &mut self.all[place as usize];
        begun.holds(value).then(|| (&mut begun.send, value - begun.first_value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Send> {
        self.all.iter().map(|begun| &begun.send)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&u64, &Send)> {
        self.all.iter().map(|begun| (&begun.first_value, &begun.send))
    }
}

/// As many as are looked through for a call that ends.
const RECENT: usize = 8;
