//! Kafka's messages in the versions that are spoken here, field by field as in Kafka's own message
//! schemas: name, type, the versions that have it (none stated: all), the versions that may have
//! null there (none stated: all, if the type is an option), its tag, its default.
//!
//! A field that a version does not have is read as its default and not written. Null is written as
//! empty where the version has no null, as Kafka does (`JoinGroupResponse.java`). Source: the
//! message schemas of Apache Kafka 4.3.

/// Defines a module of structures that can be read and written.
macro_rules! messages {
    ($module:ident $(struct $Name:ident {$(
        $field:ident: $kind:ty $([$versions:expr])? $(, null [$nullable:expr])?
            $(, tag $tag:literal)? $(= $default:expr)?;
    )*})*) => {
        #[expect(missing_docs, reason = "named and documented by Kafka's message schemas")]
        pub mod $module {
            use crate::wire::messages::fields::*;

            $(
                #[derive(Clone, PartialEq, Debug)]
                pub struct $Name { $(pub $field: $kind,)* }

                impl Default for $Name {
                    fn default() -> Self {
                        Self { $($field: messages!(@default $($default)?),)* }
                    }
                }

                impl Wire for $Name {
                    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
                        let mut it = Self::default();
                        $(messages!(
                            @read reader it $field [$($versions)?] [$($nullable)?] [$($tag)?]
                        );)*
                        reader.tags(|_reader, _tag| {
                            $(messages!(
                                @read_tag _reader it $field _tag [$($versions)?] [$($tag)?]
                            );)*
                            Ok(false)
                        })?;
                        Ok(it)
                    }

                    fn write(&self, writer: &mut Writer) {
                        $(messages!(
                            @write writer self $field [$($versions)?] [$($nullable)?] [$($tag)?]
                        );)*
                        let tags = [
                            $(messages!(@write_tag writer self $field [$($versions)?] [$($tag)?]),)*
                        ];
                        writer.tags(&tags.into_iter().flatten().collect::<Vec<_>>());
                    }
                }

                /// A structure that may be null has a byte before it (KIP-893).
                impl Wire for Option<$Name> {
                    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
                        if i8::read(reader)? < 0 { Ok(None) } else { $Name::read(reader).map(Some) }
                    }

                    fn write(&self, writer: &mut Writer) {
                        let there: i8 = if self.is_some() { 1 } else { -1 };
                        there.write(writer);
                        self.iter().for_each(|it| it.write(writer));
                    }
                }

                #[cfg(test)]
                impl Sample for $Name {
                    fn sample(draw: &mut Draw) -> Self {
                        let mut it = Self::default();
                        $(messages!(@sample draw it $field [$($versions)?] [$($nullable)?]);)*
                        it
                    }
                }
            )*
        }
    };

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    // Whether the version of a reader or a writer has a field.
    (@has $at:ident) => { true };
    (@has $at:ident $versions:expr) => { ($versions).contains(&$at.version) };

    // Fields without a tag, with and without versions that know no null; those with a tag.
    (@read $reader:ident $it:ident $field:ident [$($versions:expr)?] [] []) => {
        if messages!(@has $reader $($versions)?) {
            $it.$field = $reader.field(stringify!($field))?;
        }
    };
    (@read $reader:ident $it:ident $field:ident [$($versions:expr)?] [$nullable:expr] []) => {
        if messages!(@has $reader $($versions)?) {
            $it.$field = if messages!(@has $reader $nullable) {
                $reader.field(stringify!($field))?
            } else {
                Some($reader.field(stringify!($field))?)
            };
        }
    };
    (@read $reader:ident $it:ident $field:ident [$($versions:expr)?] [] [$tag:literal]) => {};

    (@read_tag $reader:ident $it:ident $field:ident $found:ident [$($versions:expr)?] []) => {};
    (@read_tag $reader:ident $it:ident $field:ident $found:ident
        [$($versions:expr)?] [$tag:literal]) => {
        if $found == $tag && messages!(@has $reader $($versions)?) {
            $it.$field = $reader.field(stringify!($field))?;
            return Ok(true);
        }
    };

    (@write $writer:ident $self:ident $field:ident [$($versions:expr)?] [] []) => {
        if messages!(@has $writer $($versions)?) {
            $self.$field.write($writer);
        }
    };
    (@write $writer:ident $self:ident $field:ident [$($versions:expr)?] [$nullable:expr] []) => {
        if messages!(@has $writer $($versions)?) {
            if messages!(@has $writer $nullable) {
                $self.$field.write($writer);
            } else {
                $self.$field.as_ref().unwrap_or(&Default::default()).write($writer);
            }
        }
    };
    (@write $writer:ident $self:ident $field:ident [$($versions:expr)?] [] [$tag:literal]) => {};

    // Only what differs from the default is written as a tagged field.
    (@write_tag $writer:ident $self:ident $field:ident [$($versions:expr)?] []) => { None };
    (@write_tag $writer:ident $self:ident $field:ident [$($versions:expr)?] [$tag:literal]) => {
        (messages!(@has $writer $($versions)?) && $self.$field != Self::default().$field)
            .then(|| ($tag, $writer.tagged(&$self.$field)))
    };

    (@sample $draw:ident $it:ident $field:ident [$($versions:expr)?] []) => {
        if messages!(@has $draw $($versions)?) && !$draw.is_default() {
            $it.$field = Sample::sample($draw);
        }
    };
    (@sample $draw:ident $it:ident $field:ident [$($versions:expr)?] [$nullable:expr]) => {
        if messages!(@has $draw $($versions)?) {
            $it.$field = if messages!(@has $draw $nullable) {
                Sample::sample($draw)
            } else {
                Some(Sample::sample($draw))
            };
        }
    };
}

/// What the fields of messages are made of.
mod fields {
    pub(super) use bytes::Bytes;

    pub(super) use crate::wire::codec::{Malformed, Reader, Uuid, Wire, Writer};
    #[cfg(test)]
    pub(super) use crate::wire::tests::sample::{Draw, Sample};
}

// Behind the macro that they use.
pub mod admin;
pub mod cluster;
pub mod groups;
pub mod records;
pub mod transactions;
