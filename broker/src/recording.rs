//! Flight recordings: what was fed to the machines of a process, and a hash of what each did with
//! it, as a file. Fed to fresh machines of the same build, it must lead to the same hashes.
//!
//! A file is a header (magic, version) and frames. A frame is the length of its body, the CRC-32C
//! of that body, and the CRC-32C of these two, each a big-endian u32; then the body, an [`Entry`]
//! in postcard. A head of its own check tells a frame that was never finished, which is how a file
//! of a process that was killed ends, from one whose length is damaged. [`Recorder`] writes,
//! [`Reader`] reads, [`Replay`] feeds.

use broker_core::config::{BrokerConfig, ControllerConfig};
use broker_core::format::crc32c;
use broker_core::hash::Rolling;
use broker_core::ids::{Incarnation, NodeId};
use broker_core::mutants::{MutantRow, Mutants, REGISTRY, UNHOSTED};
use broker_core::step::{Cx, Effect, Input};
use serde::{Deserialize, Serialize};

mod reader;
mod recorder;
mod replay;
#[cfg(all(test, not(madsim)))]
mod tests;

pub use reader::{BadRecording, End, Frame, Reader};
pub use recorder::{BYTES_MIN, Ended, Recorder};
pub use replay::{Difference, Replay, Wrong, short};

/// Opens a file.
pub const MAGIC: [u8; 4] = *b"SBfr";

/// The layout of all that a file holds, the core's inputs and configurations included: raised
/// whenever any of it changes.
pub const VERSION: u8 = 3;

/// A file grows to this, unless its writer is told otherwise.
pub const BYTES_MAX: u64 = 1 << 30;

/// The longest body of a frame. The largest inputs are ranges of objects, which the core asks for
/// in far smaller pieces.
pub const BODY_BYTES_MAX: usize = 256 << 20;

/// Magic and version.
const HEADER_BYTES: usize = 5;

/// Length and the two checks.
const HEAD_BYTES: usize = 12;

/// One thing that is told of a process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Entry {
    /// A process of this node begins; the one before it, if there was one, is gone.
    Begin {
        /// Which.
        node: NodeId,
        /// The number of its process.
        incarnation: Incarnation,
        /// What it is.
        role: Role,
        /// The planted bugs of its core that are on.
        mutants: Vec<String>,
    },
    /// The node's machine is about to take a step.
    Fed(Fed),
    /// It has taken it.
    Effects {
        /// Which.
        node: NodeId,
        /// By [`hash_of`].
        hash: u64,
    },
    /// The file has grown as far as it may. Nothing follows.
    Full,
}

/// A step of a machine before it is taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fed {
    /// Whose.
    pub node: NodeId,
    /// Its clocks and random bits. The planted bugs are the process's.
    pub cx: Cx,
    /// What happens to it.
    pub input: Input,
}

impl PartialEq for Fed {
    fn eq(&self, other: &Self) -> bool {
        let clocks = |fed: &Self| (fed.cx.mono, fed.cx.wall, fed.cx.entropy);
        self.node == other.node && clocks(self) == clocks(other) && self.input == other.input
    }
}

/// What a node is, and all that its machine knows of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Role {
    /// A voter of the metadata quorum.
    Controller(ControllerConfig),
    /// A broker.
    Broker(BrokerConfig),
}

/// An entry as borrowed: inputs are large, and writing one must not copy it first. The same layout
/// as [`Entry`].
#[derive(Serialize)]
enum Borrowed<'a> {
    Begin { node: NodeId, incarnation: Incarnation, role: &'a Role, mutants: Vec<&'static str> },
    Fed { node: NodeId, cx: &'a Cx, input: &'a Input },
    Effects { node: NodeId, hash: u64 },
    Full,
}

/// The hash of a step's effects, probes included, in their order.
#[must_use]
pub fn hash_of(effects: &[Effect]) -> u64 {
    let mut rolling = Rolling::default();
    std::hash::Hash::hash(effects, &mut rolling);
    rolling.low()
}

/// Whether a file that begins like this is a recording, of whatever version.
#[must_use]
pub fn is_recording(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

fn header() -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = MAGIC;
    [a, b, c, d, VERSION]
}

/// A frame's bytes; none if it would be longer than any may be.
fn frame(entry: &impl Serialize) -> Option<Vec<u8>> {
    let frame = postcard::to_extend(entry, vec![0; HEAD_BYTES]);
    let mut frame = frame.expect("entries have known lengths");
    let (head, body) = frame.split_at_mut(HEAD_BYTES);
    if body.len() > BODY_BYTES_MAX {
        return None;
    }
    let length = u32::try_from(body.len()).expect("checked above");
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4..8].copy_from_slice(&crc32c(body).to_be_bytes());
    let check = crc32c(&head[..8]);
    head[8..].copy_from_slice(&check.to_be_bytes());
    Some(frame)
}

fn rows() -> impl Iterator<Item = &'static MutantRow> {
    REGISTRY.iter().chain(UNHOSTED)
}

fn ids_of(mutants: Mutants) -> Vec<&'static str> {
    rows().filter(|row| mutants.on(row.mutant)).map(|row| row.id).collect()
}

fn by_ids(ids: &[String]) -> Result<Mutants, String> {
    let mut mutants = Mutants::NONE;
    for id in ids {
        let row = rows().find(|row| row.id == id);
        let row = row.ok_or_else(|| format!("there is no planted bug {id:?}"))?;
        mutants = mutants.with(row.mutant);
        if !mutants.on(row.mutant) {
            return Err(format!("the planted bug {id} is not compiled in"));
        }
    }
    Ok(mutants)
}
