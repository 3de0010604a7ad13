//! What comes of feeding a flight recording ([`broker::recording`]) to fresh machines: a step that
//! panics is caught here, and told from one that panicked in the recorded process, too.

use std::io::Read;

use broker::recording::{BadRecording, Difference, End, Entry, Fed, Reader, Replay, Wrong};
use broker_core::ids::NodeId;
use broker_core::step::{Effect, Input};

use crate::decider::panics;

/// What came of it.
#[derive(Debug)]
pub struct Replayed {
    /// Frames that were read.
    pub frames: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Steps that were taken.
    pub steps: u64,
    /// Nodes that took them.
    pub nodes: usize,
    /// Processes of these nodes.
    pub processes: u64,
    /// How the file ends; none if it was not read so far.
    pub end: Option<End>,
    /// Steps that have no hash, by node and frame: the recorded process ended in them.
    pub unfinished: Vec<(NodeId, u64)>,
    /// Whether the machines did the same again.
    pub verdict: Verdict,
}

/// Whether the machines of a recording did the same again.
#[derive(Debug)]
pub enum Verdict {
    /// All hashes are equal, and no step panicked.
    Equal,
    /// The first step that differs. If it panics now, and did not then: how.
    Differs(Box<Difference>, Option<Panicked>),
    /// A step panics, and in the recording it did not end either.
    Panicked(Panicked),
}

/// A step that panics.
#[derive(Debug)]
pub struct Panicked {
    /// The frame of its input.
    pub frame: u64,
    /// Whose it is.
    pub node: NodeId,
    /// What it is fed.
    pub input: Input,
    /// Source file and line.
    pub place: String,
    /// The message.
    pub message: String,
}

/// Gets every step: the frame of its input, the input, the effects.
pub type Each<'a> = dyn FnMut(u64, &Fed, &[Effect]) + 'a;

/// Replays a recording to its end, or to the first step that differs.
///
/// # Errors
/// If the file is damaged, or not one that a process writes.
pub fn replay(
    source: impl Read,
    mut each: Option<&mut Each<'_>>,
) -> Result<Replayed, BadRecording> {
    let mut reader = Reader::new(source)?;
    let (mut replay, mut panicked) = (Replay::default(), None);
    let mut differs = None;
    while let Some(frame) = reader.frame()? {
        let (number, offset) = (frame.number, frame.offset);
        let node = match &frame.entry {
            Entry::Fed(fed) => Some(fed.node),
            Entry::Begin { .. } | Entry::Effects { .. } | Entry::Full => None,
        };
        let shown = match &frame.entry {
            Entry::Fed(fed) if each.is_some() => Some(fed.clone()),
            _ => None,
        };
        let followed = panics::caught(|| {
            let effects = replay.frame(frame)?;
            if let (Some(each), Some(fed), Some(effects)) = (&mut each, &shown, effects) {
                each(number, fed, effects);
            }
            Ok(())
        });
        match followed {
            Ok(Ok(())) => {}
            Ok(Err(Wrong::Bad(bad))) => return Err(bad),
            Ok(Err(Wrong::Differs(difference))) => {
                differs = Some(difference);
                break;
            }
            Err((place, message)) => {
                let step = replay.unfinished().find(|(one, ..)| Some(*one) == node);
                let Some((node, frame, input)) = step else {
                    let why = format!("frame {number}, at byte {offset}: {message} ({place})");
                    return Err(BadRecording(why));
                };
                let input = input.clone();
                panicked.get_or_insert(Panicked { frame, node, input, place, message });
            }
        }
    }
    let verdict = match (differs, panicked) {
        (Some(difference), panicked) => {
            let same = panicked.filter(|panicked| panicked.frame == difference.frame);
            Verdict::Differs(difference, same)
        }
        (None, Some(panicked)) => Verdict::Panicked(panicked),
        (None, None) => Verdict::Equal,
    };
    Ok(Replayed {
        frames: reader.frames(),
        bytes: reader.bytes(),
        steps: replay.steps(),
        nodes: replay.nodes(),
        processes: replay.processes(),
        end: reader.end(),
        unfinished: replay.unfinished().map(|(node, frame, _)| (node, frame)).collect(),
        verdict,
    })
}
