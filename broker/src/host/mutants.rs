//! The planted bugs of the shell: what a host can do wrong around a core that is right.
//!
//! A simulation of the core alone can not see them; whole processes in a simulated network must.
//! Without the feature `mutants` none can be switched on, and nothing of them is compiled in.

use std::collections::VecDeque;

use broker_core::step::{Effect, Etag, Input, LogOp, LogResult, ObjOp, ObjResult};

use super::Event;

/// One planted bug.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ShellMutantRow {
    /// The bug.
    pub mutant: ShellMutant,
    /// Stable name.
    pub id: &'static str,
    /// What the shell does wrong.
    pub what: &'static str,
    /// What whole processes under madsim break with it: codes of properties, `panic`, `protocol`.
    pub breaks: &'static [&'static str],
}

macro_rules! mutants {
    ($($variant:ident = $id:literal, $what:literal, $breaks:expr;)*) => {
        /// The planted bugs, by name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum ShellMutant {
            $(#[doc = $what] $variant,)*
        }

        /// All planted bugs of the shell.
        pub const REGISTRY: &[ShellMutantRow] = &[$(ShellMutantRow {
            mutant: ShellMutant::$variant,
            id: $id,
            what: $what,
            breaks: &$breaks,
        }),*];
    };
}

mutants! {
    PutEarly = "shell-put-early",
        "a put is reported as done when it is begun",
        ["W1", "O7", "W4", "RF2"];
    StateEarly = "shell-state-early",
        "a state file is reported as durable when its write is begun",
        ["R9"];
    EffectsReversed = "shell-effects-reversed",
        "the effects of a step are begun last to first",
        ["panic"];
    CompletionDropped = "shell-completion-dropped",
        "one in 32 answers of the store never reaches the machine",
        ["LV7", "LV8"];
    UnknownIsDone = "shell-unknown-is-done",
        "a put without an answer is reported as done",
        ["panic", "O7", "RF2"];
    HaltIgnored = "shell-halt-ignored",
        "the process goes on when its machine has halted",
        ["panic"];
    TimerLost = "shell-timer-lost",
        "one in 64 timers that are armed never fires",
        ["LV7", "LV1", "LV4", "LV8", "LV5"];
    AnswersSwapped = "shell-answers-swapped",
        "one in 16 answers to clients is sent behind the next one",
        ["protocol"];
    RequestDropped = "shell-request-dropped",
        "one in 64 requests of clients never reaches the machine",
        ["protocol"];
    AnswerDoubled = "shell-answer-doubled",
        "one in 64 answers to clients is sent twice",
        ["panic", "protocol"];
    OldCompletion = "shell-old-completion",
        "the store's answer is given to the operation that was asked before",
        ["W3", "LV7", "W1", "LV1", "L7", "RF2"];
}

/// Which planted bugs of the shell are on.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct ShellMutants(u32);

impl ShellMutants {
    /// None.
    pub const NONE: Self = Self(0);

    /// With `mutant` on, too; without the feature `mutants` that changes nothing.
    #[must_use]
    pub const fn with(self, mutant: ShellMutant) -> Self {
        if cfg!(feature = "mutants") { Self(self.0 | 1 << mutant as u32) } else { self }
    }

    /// Whether `mutant` is on.
    #[must_use]
    pub const fn on(self, mutant: ShellMutant) -> bool {
        cfg!(feature = "mutants") && self.0 >> mutant as u32 & 1 == 1
    }
}

/// The planted bug with this id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static ShellMutantRow> {
    REGISTRY.iter().find(|row| row.id == id)
}

/// What the planted bugs of one process have done so far.
#[derive(Default)]
pub(super) struct Planted {
    pub on: ShellMutants,
    counts: [u32; REGISTRY.len()],
    previous: VecDeque<ObjResult>,
}

impl Planted {
    pub(super) fn new(on: ShellMutants) -> Self {
        Self { on, ..Self::default() }
    }

    /// Whether it is the turn of a bug that strikes once in so many times.
    pub(super) fn strikes(&mut self, mutant: ShellMutant, each: u32) -> bool {
        if !self.on.on(mutant) {
            return false;
        }
        let count = &mut self.counts[mutant as usize];
        *count += 1;
        count.is_multiple_of(each)
    }

    /// What the machine is told too early, and wrongly, of an effect that is begun now.
    pub(super) fn told_early(&self, effect: &Effect) -> Option<Input> {
        match effect {
            Effect::Obj(tok, ObjOp::Put { .. }) if self.on.on(ShellMutant::PutEarly) => {
                Some(Input::ObjDone(*tok, ObjResult::Done { etag: Etag(0) }))
            }
            Effect::Log(tok, LogOp::WriteState { .. }) if self.on.on(ShellMutant::StateEarly) => {
                Some(Input::LogDone(*tok, LogResult::StateDurable))
            }
            _ => None,
        }
    }

    /// What becomes of an event on its way to the machine; none: it is lost.
    pub(super) fn event(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Obj(..) if self.strikes(ShellMutant::CompletionDropped, 32) => None,
            Event::Obj(tok, ObjResult::Unknown) if self.on.on(ShellMutant::UnknownIsDone) => {
                Some(Event::Obj(tok, ObjResult::Done { etag: Etag(0) }))
            }
            Event::Obj(tok, result) if self.on.on(ShellMutant::OldCompletion) => {
                let same = |one: &ObjResult| {
                    std::mem::discriminant(one) == std::mem::discriminant(&result)
                };
                let old = self.previous.iter().position(same);
                let told = old.and_then(|at| self.previous.remove(at));
                self.previous.push_back(result.clone());
                Some(Event::Obj(tok, told.unwrap_or(result)))
            }
            Event::Request(..) if self.strikes(ShellMutant::RequestDropped, 64) => None,
            other => Some(other),
        }
    }
}
