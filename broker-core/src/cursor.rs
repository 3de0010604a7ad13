//! Reads fixed-width big-endian fields off the front of bytes that may be short or senseless.
//!
//! The counterpart of `extend_from_slice(&x.to_be_bytes())`. It leaves checksums and versions to
//! [`crate::format`].

use crate::format::FormatError;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`FormatError::Body`] if there are fewer: a checksum held, so this is no torn write.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (front, rest) = self.0.split_at_checked(len).ok_or(FormatError::Body)?;
        self.0 = rest;
        Ok(front)
    }

    /// The next two bytes as a number.
    ///
    /// # Errors
    /// As [`Cursor::bytes`].
    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_be_bytes(self.bytes(2)?.try_into().expect("two bytes")))
    }

    /// The next four bytes as a number.
    ///
    /// # Errors
    /// As [`Cursor::bytes`].
    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_be_bytes(self.bytes(4)?.try_into().expect("four bytes")))
    }

    /// The next eight bytes as a number.
    ///
    /// # Errors
    /// As [`Cursor::bytes`].
    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_be_bytes(self.bytes(8)?.try_into().expect("eight bytes")))
    }

    /// How many bytes are left.
    #[must_use]
    pub(crate) fn left(self) -> usize {
        self.0.len()
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    /// [`FormatError::Body`] if something is.
    pub(crate) fn end(self) -> Result<(), FormatError> {
        if self.0.is_empty() { Ok(()) } else { Err(FormatError::Body) }
    }
}
