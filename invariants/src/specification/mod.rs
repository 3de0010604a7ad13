//! What the protocols are, each said a second time, as small as it can be said: a state, the steps
//! that may be taken in it, and nothing of how they come about. They share no type and no code with
//! the core. A run and a model are held against them after each step: `properties/…_refines`.
//!
//! Sources of the method: Lamport, "Refinement mappings"; Howard et al., "Smart Casual
//! Verification" (NSDI '25), for conformance checked step by step.

/// Why a step may not be taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

/// Whether a step may be taken.
pub(crate) type May = Result<(), Refused>;

/// Refuses a step unless the condition holds.
macro_rules! guard {
    ($condition:expr, $why:literal) => {
        if !$condition {
            return Err($crate::specification::Refused($why));
        }
    };
}

/// A specification's actions, and a name of each, with the code of the property that asks for them.
macro_rules! actions {
    (
        $(#[$about:meta])* $code:literal:
        $($(#[$doc:meta])* $name:ident $(($($arg:ty),+))?,)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub(crate) enum Action { $($(#[$doc])* $name $(($($arg),+))?,)* }

        /// The names of all actions.
        pub(crate) const ACTIONS: &[&str] = &[$(concat!($code, ":", stringify!($name))),*];

        impl Action {
            /// Under which it is counted.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$name { .. } => concat!($code, ":", stringify!($name)),)*
                }
            }
        }
    };
}

mod claims;
pub(crate) mod quorum;
mod stream;
pub(crate) mod transactions;
pub(crate) mod wal;

/// The actions of each specification. Their names begin with the code of the property that asks for
/// them, and a colon.
pub const SPECIFIED: &[&[&str]] = &[quorum::ACTIONS, transactions::ACTIONS, wal::ACTIONS];

/// For walks: numbers below a count, the same ones each time (Knuth's MMIX).
#[cfg(test)]
pub(crate) fn draws() -> impl FnMut(u64) -> u64 {
    let mut last = 1_u64;
    move |count| {
        last = last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (last >> 33) % count
    }
}
