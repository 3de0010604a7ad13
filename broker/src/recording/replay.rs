//! Feeds a recording to fresh machines, and compares what they do with what was done.
//!
//! A machine that panics does so through here: whoever wants to hear of it catches that. Its step
//! has then begun and not ended, as in the recording of a process that died of it.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write as _};

use broker_core::broker::Broker;
use broker_core::controller::Controller;
use broker_core::ids::{Incarnation, NodeId};
use broker_core::mutants::Mutants;
use broker_core::step::{Cx, Effect, Input, Machine, Outbox};

use super::reader::{BadRecording, Frame, damaged};
use super::{Entry, Fed, Role, by_ids, hash_of};

/// The machines of a recording.
#[derive(Default)]
pub struct Replay {
    nodes: BTreeMap<NodeId, Process>,
    steps: u64,
    processes: u64,
}

struct Process {
    incarnation: Incarnation,
    machine: Running,
    mutants: Mutants,
    /// The step whose hash has not come yet.
    step: Option<Step>,
}

enum Running {
    Controller(Box<Controller>),
    Broker(Box<Broker>),
}

struct Step {
    /// Of its input.
    frame: u64,
    input: Input,
    /// None: it is under way, or was ended by a panic.
    effects: Option<Vec<Effect>>,
}

/// A step that was another one then than it is now.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The frame of its input.
    pub frame: u64,
    /// Whose.
    pub node: NodeId,
    /// The number of its process.
    pub incarnation: Incarnation,
    /// What it was fed.
    pub input: Input,
    /// The hash of its effects then.
    pub expected: u64,
    /// What came of it now; none: it panics.
    pub found: Option<Vec<Effect>>,
}

/// Why a recording can not be followed any further.
#[derive(Clone, Debug)]
pub enum Wrong {
    /// A step differs.
    Differs(Box<Difference>),
    /// The file is not one that a process writes.
    Bad(BadRecording),
}

impl From<BadRecording> for Wrong {
    fn from(bad: BadRecording) -> Self {
        Self::Bad(bad)
    }
}

impl Replay {
    /// Follows the recording by a frame. The effects of the step, if it is one.
    ///
    /// # Errors
    /// If a step differs, or the frames are in no order that a process writes.
    pub fn frame(&mut self, frame: Frame) -> Result<Option<&[Effect]>, Wrong> {
        let Frame { number, offset, entry } = frame;
        let bad = |why: &str| Wrong::Bad(damaged(number, offset, why));
        match entry {
            Entry::Begin { node, incarnation, role, mutants } => {
                let mutants = by_ids(&mutants).map_err(|why| bad(&why))?;
                let machine = Running::new(role);
                self.nodes.insert(node, Process { incarnation, machine, mutants, step: None });
                self.processes += 1;
            }
            Entry::Fed(Fed { node, cx, input }) => {
                let process = self.nodes.get_mut(&node);
                let process = process.ok_or_else(|| bad("a process that has not begun is fed"))?;
                if process.step.is_some() {
                    return Err(bad("a process is fed in the midst of a step"));
                }
                self.steps += 1;
                return Ok(Some(process.fed(number, cx, input)));
            }
            Entry::Effects { node, hash } => {
                let process = self.nodes.get_mut(&node).filter(|process| process.step.is_some());
                let process = process.ok_or_else(|| bad("a step ends that has not begun"))?;
                if let Some(difference) = process.compare(node, hash) {
                    return Err(Wrong::Differs(Box::new(difference)));
                }
            }
            Entry::Full => {}
        }
        Ok(None)
    }

    /// Steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Nodes so far.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Processes so far.
    #[must_use]
    pub fn processes(&self) -> u64 {
        self.processes
    }

    /// Last steps that the recording has no hash of: the file or the process ended before it was
    /// written. By node, with the input and its frame.
    pub fn unfinished(&self) -> impl Iterator<Item = (NodeId, u64, &Input)> + '_ {
        self.nodes.iter().filter_map(|(node, process)| {
            let step = process.step.as_ref()?;
            Some((*node, step.frame, &step.input))
        })
    }
}

impl Process {
    fn fed(&mut self, frame: u64, cx: Cx, input: Input) -> &[Effect] {
        let step = self.step.insert(Step { frame, input: input.clone(), effects: None });
        let cx = Cx { mutants: self.mutants, ..cx };
        let mut out = Outbox::default();
        match &mut self.machine {
            Running::Controller(controller) => controller.step(&cx, input, &mut out),
            Running::Broker(broker) => broker.step(&cx, input, &mut out),
        }
        step.effects.insert(out.drain().collect())
    }

    fn compare(&mut self, node: NodeId, expected: u64) -> Option<Difference> {
        let Step { frame, input, effects: found } = self.step.take()?;
        if found.as_deref().map(hash_of) == Some(expected) {
            return None;
        }
        Some(Difference { frame, node, incarnation: self.incarnation, input, expected, found })
    }
}

impl Running {
    fn new(role: Role) -> Self {
        match role {
            Role::Controller(config) => Self::Controller(Box::new(Controller::new(config))),
            Role::Broker(config) => Self::Broker(Box::new(Broker::new(config))),
        }
    }
}

/// What there is to say of a thing at this length at most, in bytes: inputs can be of any size.
#[must_use]
pub fn short(what: &impl Debug, bytes_max: usize) -> String {
    struct Short(String, usize);

    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let fits = text.floor_char_boundary(self.1 - self.0.len());
            self.0.push_str(&text[..fits]);
            if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
        }
    }

    let mut words = Short(String::new(), bytes_max);
    match write!(words, "{what:?}") {
        Ok(()) => words.0,
        Err(fmt::Error) => words.0 + "…",
    }
}
