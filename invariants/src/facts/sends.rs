//! Every produce by its values. Each record that is read asks for its produce several times, and
//! readers go from batch to batch or are close behind the producers: there it is looked for first.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::clients::Send;

/// Produces, by their first values.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Sends {
    /// In the order in which they began.
    all: Vec<(u64, Send)>,
    /// Where each first value is in it.
    places: BTreeMap<u64, u32>,
    last: usize,
}

impl Sends {
    pub(crate) fn insert(&mut self, first_value: u64, send: Send) {
        let place = u32::try_from(self.all.len()).expect("fewer than 2^32 produces");
        self.places.insert(first_value, place);
        self.all.push((first_value, send));
    }

    pub(crate) fn get_mut(&mut self, first_value: &u64) -> Option<&mut Send> {
        // Most calls end soon after they began.
        let recent = self.all.len().saturating_sub(RECENT);
        let place = match self.all[recent..].iter().rposition(|(first, _)| first == first_value) {
            Some(nth) => recent + nth,
            None => *self.places.get(first_value)? as usize,
        };
        Some(&mut self.all[place].1)
    }

    /// The produce that sent this value, and the value's place in it.
    pub(crate) fn of(&mut self, value: u64) -> Option<(&mut Send, u64)> {
        let holds = |(first, send): &(u64, Send)| {
            value.checked_sub(*first).is_some_and(|nth| nth < u64::from(send.count))
        };
        let likely = [self.last, self.last + 1, self.all.len().saturating_sub(1)];
        let found = likely.into_iter().find(|place| self.all.get(*place).is_some_and(holds));
        self.last = match found {
            Some(place) => place,
            None => *self.places.range(..=value).next_back()?.1 as usize,
        };
        let (first, send) = self.all.get_mut(self.last)?;
        let place = value - *first;
        (place < u64::from(send.count)).then_some((send, place))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Send> {
        self.all.iter().map(|(_, send)| send)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&u64, &Send)> {
        self.all.iter().map(|(first, send)| (first, send))
    }
}

/// As many as are looked through for a call that ends.
const RECENT: usize = 8;
