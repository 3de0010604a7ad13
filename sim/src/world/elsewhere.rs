//! A world whose nodes are processes of a host outside: the environment, the clients and the judge
//! stay here, sockets and tasks do not.
//!
//! Of each process there is a copy here, which takes every step that the process took, with the
//! same input: the judge looks at it, and its effects must be those of the process. Store and
//! device are asked by the process itself, so that what its host does with an effect counts, and
//! not what the machine asked for.

use broker_core::ids::Incarnation;
use broker_core::step::Effect;
use invariants::Violation;
use invariants::history::SimTime;

use crate::plan::Plan;
use crate::world::layout::{BadPlan, Endpoint, Set};
use crate::world::step::{Asked, Sink, Stepped, Told};
use crate::world::{Judged, World};

impl World {
    /// The world of a plan whose processes run elsewhere.
    ///
    /// # Errors
    /// If the plan can not be run.
    pub fn elsewhere(plan: &Plan, only: Option<&str>) -> Result<Self, BadPlan> {
        Ok(Self { elsewhere: Some(Set::default()), ..Self::new(plan, only)? })
    }

    /// The host of the processes tells something. What a process does after its end is void.
    ///
    /// # Errors
    /// If a property is violated; the world is then not to be used any more.
    ///
    /// # Panics
    /// If a process's machine did something else than its copy (it is not a function of its
    /// inputs, or its host changes them), or a process goes on after its machine has halted.
    pub fn told<S: Sink>(&mut self, at: SimTime, told: Told<'_>, sink: &mut S) -> Judged {
        match told {
            Told::Stepped(step) => self.stepped(at, step, sink)?,
            Told::Heard(client, input) => self.tell(at, client, input, sink)?,
        }
        match self.scene.spark {
            Some(_) => self.run_spark(at, sink),
            None => Ok(()),
        }
    }

    /// Whether this process of a node runs.
    #[must_use]
    pub fn lives(&self, node: Endpoint, incarnation: Incarnation) -> bool {
        let slot = self.scene.slot(node);
        slot.process.is_some() && slot.incarnation == incarnation
    }

    fn stepped<S: Sink>(
        &mut self,
        at: SimTime,
        step: Stepped<'_>,
        sink: &mut S,
    ) -> Result<(), Violation> {
        let Stepped { node, incarnation, cx, input, effects, asked } = step;
        if !self.lives(node, incarnation) {
            let current = self.scene.slot(node).incarnation == incarnation;
            let ended = self.elsewhere.is_some_and(|ended| ended.holds(node));
            let name = self.scene.layout.name(node);
            assert!(!(current && ended), "{name} takes a step after it has halted: {input:?}");
            return Ok(());
        }
        // What was asked is on its way before a fault strikes that waits for a probe of this step.
        for asked in asked {
            let effect = match asked {
                Asked::Store(tok, op) => Effect::Obj(tok, op),
                Asked::Device(tok, op) => Effect::Log(tok, op),
            };
            self.carry_out(at, node, effect, sink)?;
        }
        let copy = self.scene.slots[node.index()].process.as_mut().expect("it lives");
        copy.step(cx, input.clone(), &mut self.effects);
        let name = || self.scene.layout.name(node);
        assert_eq!(self.effects.as_slice(), effects, "{}: {cx:?} {input:?}", name());
        let mut own = std::mem::take(&mut self.effects);
        let mut judged = Ok(());
        for effect in own.drain() {
            sink.effect(node, &effect);
            if let (Effect::Halt(_), Some(ended)) = (&effect, &mut self.elsewhere) {
                ended.insert(node);
            }
            if judged.is_ok()
                && self.lives(node, incarnation)
                && matches!(effect, Effect::Probe(_) | Effect::Halt(_))
            {
                judged = self.carry_out(at, node, effect, sink);
            }
        }
        self.effects = own;
        judged?;
        self.judge_step(at, node)
    }
}
