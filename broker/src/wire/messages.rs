//! Kafka's messages in the versions that are spoken here, field by field as in Kafka's own message
//! schemas: name, type, the versions that have it (none stated: all), its tag, its default.
//!
//! A field that a version does not have is read as its default and not written. Source: the message
//! schemas of Apache Kafka 4.3.

/// Defines a module of structures that can be read and written.
macro_rules! messages {
    ($module:ident $(struct $Name:ident {$(
        $field:ident: $kind:ty $([$versions:expr])? $(, tag $tag:literal)? $(= $default:expr)?;
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
                        $(messages!(@read reader it $field [$($versions)?] [$($tag)?]);)*
                        reader.tags(|_reader, _tag| {
                            $(messages!(@read_tag _reader it $field _tag [$($versions)?] [$($tag)?]);)*
                            Ok(false)
                        })?;
                        Ok(it)
                    }

                    fn write(&self, writer: &mut Writer) {
                        $(messages!(@write writer self $field [$($versions)?] [$($tag)?]);)*
                        let tags = [
                            $(messages!(@write_tag writer self $field [$($versions)?] [$($tag)?]),)*
                        ];
                        writer.tags(&tags.into_iter().flatten().collect::<Vec<_>>());
                    }
                }

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
            )*
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@has $at:ident) => { true };
    (@has $at:ident $versions:expr) => { ($versions).contains(&$at.version) };
    (@read $reader:ident $it:ident $field:ident [$($versions:expr)?] []) => {
        if messages!(@has $reader $($versions)?) {
            $it.$field = Wire::read($reader).map_err(|it: Malformed| it.within(stringify!($field)))?;
        }
    };
    (@read $reader:ident $it:ident $field:ident [$($versions:expr)?] [$tag:literal]) => {};
    (@read_tag $reader:ident $it:ident $field:ident $found:ident [$($versions:expr)?] []) => {};
    (@read_tag $reader:ident $it:ident $field:ident $found:ident
        [$($versions:expr)?] [$tag:literal]) => {
        if $found == $tag && messages!(@has $reader $($versions)?) {
            $it.$field = Wire::read($reader).map_err(|it: Malformed| it.within(stringify!($field)))?;
            return Ok(true);
        }
    };
    (@write $writer:ident $self:ident $field:ident [$($versions:expr)?] []) => {
        if messages!(@has $writer $($versions)?) {
            $self.$field.write($writer);
        }
    };
    (@write $writer:ident $self:ident $field:ident [$($versions:expr)?] [$tag:literal]) => {};
    (@write_tag $writer:ident $self:ident $field:ident [$($versions:expr)?] []) => { None };
    (@write_tag $writer:ident $self:ident $field:ident [$($versions:expr)?] [$tag:literal]) => {
        (messages!(@has $writer $($versions)?) && $self.$field != Self::default().$field)
            .then(|| ($tag, $writer.tagged(&$self.$field)))
    };
}

/// What the fields of messages are made of.
mod fields {
    pub(super) use bytes::Bytes;

    pub(super) use crate::wire::codec::{Malformed, Reader, Uuid, Wire, Writer};
}

// Behind the macro that they use.
pub mod admin;
pub mod cluster;
pub mod groups;
pub mod records;
pub mod transactions;
