//! How a probe is written down: one entry gives the variant, its stable name, and what it means.

macro_rules! probes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal
        { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? };)*) => {
        /// Something worth knowing that happened inside a node.
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        pub enum Probe {
            $($(#[doc = $doc])* $variant { $($(#[$field_doc])* $field: $type),* },)*
        }

        impl Probe {
            /// Every probe's name, in the order of [`Probe::index`].
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// What each probe means, in the same order.
            pub const MEANINGS: &'static [&'static str] = &[$(concat!($($doc),*)),*];

            /// The probe's stable name, as plans use it.
            #[must_use]
            pub fn name(&self) -> &'static str {
                Self::NAMES[self.index()]
            }

            /// The probe's place in [`Probe::NAMES`].
            #[must_use]
            pub fn index(&self) -> usize {
                match self { $(Self::$variant { .. } => ProbeIndex::$variant as usize,)* }
            }
        }

        enum ProbeIndex { $($variant,)* }
    };
}

pub(super) use probes;
