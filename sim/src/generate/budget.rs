//! What the system promises to survive, as an account that the generator draws on: at no moment is
//! more than a minority of the controllers down or without a device, and one broker is always left
//! that is not down for good. Pauses and cuts are free: they end, and lose nothing.
//!
//! Source of the idea: TigerBeetle's `ClusterFaultAtlas`, which keeps storage faults recoverable.

/// From when to when a node is down, µs; both ends included.
pub type Span = (u64, u64);

/// For ever, or at a moment that no clock tells (an anchor in events).
pub const ALWAYS: Span = (0, u64::MAX);

/// How long a node needs after the end of a fault until it is of use again.
const BOOT_US: u64 = 1_500_000;

/// The account.
#[derive(Clone, Debug)]
pub struct Budget {
    controllers: Vec<Vec<Span>>,
    brokers_left: u16,
}

impl Budget {
    /// For a cluster of this size.
    #[must_use]
    pub fn new(controllers: u16, brokers: u16) -> Self {
        Self { controllers: vec![Vec::new(); controllers.into()], brokers_left: brokers }
    }

    /// Takes these controllers down for so long, if that leaves a majority up at each moment.
    pub fn take_controllers(&mut self, which: &[usize], span: Span) -> bool {
        let span = (span.0, span.1.saturating_add(BOOT_US));
        let minority = (self.controllers.len() - 1) / 2;
        let mut with = self.controllers.clone();
        for at in which {
            with[*at].push(span);
        }
        // The number of nodes down only rises where a span begins.
        let begins = with.iter().flatten().map(|span| span.0);
        let fits = begins.filter(|at| (span.0..=span.1).contains(at)).all(|at| {
            let down = |spans: &&Vec<Span>| spans.iter().any(|one| (one.0..=one.1).contains(&at));
            with.iter().filter(down).count() <= minority
        });
        if fits {
            self.controllers = with;
        }
        fits
    }

    /// Takes a broker down for good, if another is left.
    pub fn take_broker_for_good(&mut self) -> bool {
        let fits = self.brokers_left > 1;
        if fits {
            self.brokers_left -= 1;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_second_of_three_controllers_is_refused_while_the_first_is_down() {
        let mut budget = Budget::new(3, 3);
        assert!(budget.take_controllers(&[0], (10, 20)));
        assert!(!budget.take_controllers(&[1], (15, 30)), "overlaps");
        assert!(!budget.take_controllers(&[1], (20 + BOOT_US, 30 + BOOT_US)), "still booting");
        assert!(!budget.take_controllers(&[1], (0, 12)), "overlaps from before");
        assert!(!budget.take_controllers(&[1, 2], (9_000_000, 9_000_001)), "two at once");
        assert!(budget.take_controllers(&[0], (15, 30)), "the same one may go down twice");
        assert!(budget.take_controllers(&[1], (40 + BOOT_US, 50 + BOOT_US)));
        assert!(!budget.take_controllers(&[2], ALWAYS));
    }

    #[test]
    fn budget_only_controller_is_never_taken() {
        assert!(!Budget::new(1, 3).take_controllers(&[0], (10, 20)));
    }

    #[test]
    fn budget_last_broker_is_kept() {
        let mut budget = Budget::new(3, 2);
        assert!(budget.take_broker_for_good());
        assert!(!budget.take_broker_for_good());
    }
}
