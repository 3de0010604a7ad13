//! Kafka's primitive types: how they are read from untrusted bytes, and written.
//!
//! A reader never trusts a length that it has not got the bytes for, and pays for memory out of
//! [`MEMORY_MAX`] before it takes it. Record batches are shared with the frame, not copied.
//! Where Kafka is lenient without need, we are not: a length below −1 is not null, a varint has no
//! bits to spare, and tags rise, as KIP-482 demands. Source: Kafka's protocol guide ("Protocol
//! Primitive Types"), KIP-482 (compact types, tagged fields), `MessageDataGenerator.java`.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Memory that reading a frame may take: elements of arrays, and what is copied out of the frame,
/// that is all but record batches. One byte on the wire can be 24 in memory (an empty name):
/// unbounded, a frame of 100 MiB would take 2.4 GiB.
///
/// The allocator takes more: 32 bytes for one. The worst frame of all has 2.6 MiB, names 1.3
/// million groups by one letter each (`DescribeGroups`), and takes 72 MiB. No honest request comes
/// near: a fetch of 200,000 partitions takes 8 MiB.
pub const MEMORY_MAX: usize = 32 << 20;

/// The longest string, in bytes.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Kafka's UUID, 16 bytes, most significant first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Uuid(pub u128);

/// Why bytes are not the message that they should be, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// What is wrong.
    pub why: Why,
    /// The innermost field, by our name for it; none in a header.
    pub field: Option<&'static str>,
}

/// What can be wrong with bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// There are fewer bytes than the message needs.
    Truncated,
    /// A length below −1, a string of more than 32,767 bytes, or more elements than bytes are left.
    Length,
    /// It would take more than [`MEMORY_MAX`].
    Memory,
    /// A varint of more than 32 bits.
    Varint,
    /// A string is not UTF-8.
    Utf8,
    /// Null where this version knows none.
    Null,
    /// A tagged field's content ends before or behind its stated size.
    TagSize,
    /// Tags that do not rise.
    TagOrder,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Truncated => "the message ends too early",
            Why::Length => "a length is negative, or more than can be",
            Why::Memory => "the message would take more memory than is allowed",
            Why::Varint => "a variable-length number has more than 32 bits",
            Why::Utf8 => "a string is not UTF-8",
            Why::Null => "null, where there must be a value",
            Why::TagSize => "a tagged field has another size than it says",
            Why::TagOrder => "tagged fields are not in order",
        };
        match self.field {
            Some(field) => write!(f, "field {field}: {why}"),
            None => f.write_str(why),
        }
    }
}

impl std::error::Error for Malformed {}

impl From<Why> for Malformed {
    fn from(why: Why) -> Self {
        Self { why, field: None }
    }
}

impl Malformed {
    /// Names the field, unless an inner one is named already.
    #[must_use]
    pub fn within(self, field: &'static str) -> Self {
        Self { field: self.field.or(Some(field)), ..self }
    }
}

/// What is left to read of one message.
#[derive(Debug)]
pub struct Reader {
    rest: Bytes,
    /// The message's version.
    pub version: i16,
    /// Whether lengths are compact and structures end with tagged fields.
    pub flexible: bool,
    memory_left: usize,
}

impl Reader {
    /// Reads `bytes` as a message of this version.
    #[must_use]
    pub fn new(bytes: Bytes, version: i16, flexible: bool) -> Self {
        Self { rest: bytes, version, flexible, memory_left: MEMORY_MAX }
    }

    /// What follows, read as of this version.
    #[must_use]
    pub fn body(self, version: i16, flexible: bool) -> Self {
        Self { version, flexible, ..self }
    }

    fn peek(&self, len: usize) -> Result<&[u8], Malformed> {
        Ok(self.rest.get(..len).ok_or(Why::Truncated)?)
    }

    /// Bytes that stay shared with the frame.
    fn take(&mut self, len: usize) -> Result<Bytes, Malformed> {
        self.peek(len)?;
        Ok(self.rest.split_to(len))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.peek(N)?.try_into().expect("as many as were asked for");
        self.rest.advance(N);
        Ok(bytes)
    }

    /// A field; its name goes into what is said of malformed bytes.
    ///
    /// # Errors
    /// If the bytes are not what they should be.
    pub fn field<T: Wire>(&mut self, name: &'static str) -> Result<T, Malformed> {
        T::read(self).map_err(|malformed| malformed.within(name))
    }

    /// An unsigned variable-length number of at most 32 bits.
    ///
    /// # Errors
    /// If it is longer, or not there.
    pub fn uvarint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0xf {
                return Err(Why::Varint.into());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Why::Varint.into())
    }

    /// A length; `None` is null.
    fn length(&mut self, short: bool) -> Result<Option<usize>, Malformed> {
        if self.flexible {
            return Ok(self.uvarint()?.checked_sub(1).map(|len| len as usize));
        }
        let len = if short { i32::from(i16::read(self)?) } else { i32::read(self)? };
        match len {
            -1 => Ok(None),
            len => usize::try_from(len).map(Some).map_err(|_| Why::Length.into()),
        }
    }

    /// An array's length, its memory paid.
    fn elements<T>(&mut self) -> Result<Option<usize>, Malformed> {
        let Some(count) = self.length(false)? else { return Ok(None) };
        // No element is shorter than a byte.
        if count > self.rest.len() {
            return Err(Why::Length.into());
        }
        self.pay(count.saturating_mul(size_of::<T>()))?;
        Ok(Some(count))
    }

    fn pay(&mut self, memory: usize) -> Result<(), Malformed> {
        self.memory_left = self.memory_left.checked_sub(memory).ok_or(Why::Memory)?;
        Ok(())
    }

    /// The tagged fields at the end of a structure: `known` reads those that it knows and says so;
    /// the others are skipped.
    ///
    /// # Errors
    /// If they are malformed.
    pub fn tags(
        &mut self,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, Malformed>,
    ) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        let mut before = None;
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            if before.is_some_and(|before| before >= tag) {
                return Err(Why::TagOrder.into());
            }
            before = Some(tag);
            let size = self.uvarint()? as usize;
            let content = self.take(size)?;
            let behind = std::mem::replace(&mut self.rest, content);
            let read = known(self, tag)?;
            if read && !self.rest.is_empty() {
                return Err(Why::TagSize.into());
            }
            self.rest = behind;
        }
        Ok(())
    }
}

/// A frame that is being written. Record batches are copied once, when its length is known.
#[derive(Debug)]
pub struct Writer {
    /// All before the last record batch, and that batch.
    parts: Vec<Bytes>,
    /// All behind it.
    bytes: BytesMut,
    /// The message's version.
    pub version: i16,
    /// As in [`Reader`].
    pub flexible: bool,
}

impl Writer {
    /// An empty frame of this version.
    #[must_use]
    pub fn new(version: i16, flexible: bool) -> Self {
        Self { parts: Vec::new(), bytes: BytesMut::new(), version, flexible }
    }

    /// What follows, written as of this version.
    #[must_use]
    pub fn body(self, version: i16, flexible: bool) -> Self {
        Self { version, flexible, ..self }
    }

    /// The frame, its length before it.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        self.parts.push(self.bytes.freeze());
        let len = self.parts.iter().map(Bytes::len).sum::<usize>();
        let mut frame = BytesMut::with_capacity(size_of::<i32>() + len);
        frame.put_i32(i32::try_from(len).expect("below 2 GiB"));
        self.parts.iter().for_each(|part| frame.put_slice(part));
        frame.freeze()
    }

    /// An unsigned variable-length number.
    pub fn uvarint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.bytes.put_u8(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value.to_le_bytes()[0]);
    }

    /// A length; `None` is null. Strings fit, and nothing else that we send is 2 GiB long.
    fn length(&mut self, len: Option<usize>, short: bool) {
        if self.flexible {
            let len = len.map_or(0, |len| u32::try_from(len).expect("below 2 GiB") + 1);
            self.uvarint(len);
        } else if short {
            self.bytes.put_i16(len.map_or(-1, |len| i16::try_from(len).expect("below 32 KiB")));
        } else {
            self.bytes.put_i32(len.map_or(-1, |len| i32::try_from(len).expect("below 2 GiB")));
        }
    }

    /// The tagged fields at the end of a structure: those that were written by [`Self::tagged`].
    pub fn tags(&mut self, tags: &[(u32, Bytes)]) {
        if !self.flexible {
            return;
        }
        self.uvarint(u32::try_from(tags.len()).expect("a handful"));
        for (tag, content) in tags {
            self.uvarint(*tag);
            self.uvarint(u32::try_from(content.len()).expect("below 2 GiB"));
            self.bytes.put_slice(content);
        }
    }

    /// The content of a tagged field.
    #[must_use]
    pub fn tagged(&self, value: &impl Wire) -> Bytes {
        let mut content = Self::new(self.version, self.flexible);
        value.write(&mut content);
        debug_assert!(content.parts.is_empty(), "record batches have no tag");
        content.bytes.freeze()
    }

    /// A string's text. What a client sent fits. Only a text of ours around it may not: it is cut.
    fn text(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(STRING_BYTES_MAX)];
        self.length(Some(text.len()), true);
        self.bytes.put_slice(text.as_bytes());
    }
}

/// What has a place in a message.
pub trait Wire: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// If the bytes are not what they should be.
    fn read(reader: &mut Reader) -> Result<Self, Malformed>;
    /// Writes it.
    fn write(&self, writer: &mut Writer);
}

macro_rules! numbers {
    ($($number:ty: $put:ident;)*) => {$(
        impl Wire for $number {
            fn read(reader: &mut Reader) -> Result<Self, Malformed> {
                reader.array().map(<$number>::from_be_bytes)
            }
            fn write(&self, writer: &mut Writer) {
                writer.bytes.$put(*self);
            }
        }
    )*};
}

numbers! {
    i8: put_i8;
    i16: put_i16;
    i32: put_i32;
    i64: put_i64;
    u16: put_u16;
}

impl Wire for bool {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        reader.array().map(|[byte]| byte != 0)
    }

    fn write(&self, writer: &mut Writer) {
        writer.bytes.put_u8(u8::from(*self));
    }
}

impl Wire for Uuid {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        reader.array().map(|bytes| Self(u128::from_be_bytes(bytes)))
    }

    fn write(&self, writer: &mut Writer) {
        writer.bytes.put_u128(self.0);
    }
}

impl Wire for Option<String> {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let Some(len) = reader.length(true)? else { return Ok(None) };
        if len > STRING_BYTES_MAX {
            return Err(Why::Length.into());
        }
        let text = str::from_utf8(reader.peek(len)?).map_err(|_| Why::Utf8)?.to_owned();
        reader.rest.advance(len);
        reader.pay(len)?;
        Ok(Some(text))
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Some(text) => writer.text(text),
            None => writer.length(None, true),
        }
    }
}

impl Wire for String {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Option::<Self>::read(reader)?.ok_or(Why::Null)?)
    }

    fn write(&self, writer: &mut Writer) {
        writer.text(self);
    }
}

/// Record batches: shared with the frame.
impl Wire for Option<Bytes> {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let Some(len) = reader.length(false)? else { return Ok(None) };
        reader.take(len).map(Some)
    }

    fn write(&self, writer: &mut Writer) {
        writer.length(self.as_ref().map(Bytes::len), false);
        if let Some(bytes) = self {
            let before = writer.bytes.split().freeze();
            writer.parts.extend([before, bytes.clone()]);
        }
    }
}

/// What members of a group say of themselves: copied. A group keeps it for long, and would keep the
/// whole frame with it.
impl Wire for Bytes {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let shared = Option::<Self>::read(reader)?.ok_or(Why::Null)?;
        reader.pay(shared.len())?;
        Ok(Self::copy_from_slice(&shared))
    }

    fn write(&self, writer: &mut Writer) {
        writer.length(Some(self.len()), false);
        writer.bytes.put_slice(self);
    }
}

impl<T: Wire> Wire for Option<Vec<T>> {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let Some(count) = reader.elements::<T>()? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(reader)?);
        }
        Ok(Some(elements))
    }

    fn write(&self, writer: &mut Writer) {
        writer.length(self.as_ref().map(Vec::len), false);
        self.iter().flatten().for_each(|element| element.write(writer));
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Option::<Self>::read(reader)?.ok_or(Why::Null)?)
    }

    fn write(&self, writer: &mut Writer) {
        writer.length(Some(self.len()), false);
        self.iter().for_each(|element| element.write(writer));
    }
}
