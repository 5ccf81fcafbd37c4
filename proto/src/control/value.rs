//! What a field of a message can hold: integers, texts, ids, lists.

use crate::error::DecodeError;
use crate::field::{self, Field};
use crate::id::{ClusterId, Incarnation, PublisherId, ReceiverNumber, RouterId};
use crate::limits;

/// A type that can be a field's value.
pub trait Value: Sized + Default {
    /// Appends the field; writes nothing for the default value.
    fn put(&self, number: u64, out: &mut Vec<u8>);
    /// Takes one occurrence of the field.
    ///
    /// # Errors
    /// [`DecodeError`] when the value is malformed or beyond its bound.
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError>;
}

impl Value for u64 {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if *self != 0 {
            field::put_u64(out, number, *self);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = field.u64(what)?;
        Ok(())
    }
}

impl Value for u32 {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        u64::from(*self).put(number, out);
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = field.u32(what)?;
        Ok(())
    }
}

impl Value for u16 {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        u64::from(*self).put(number, out);
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = Self::try_from(field.u64(what)?).map_err(|_| DecodeError::Malformed { what })?;
        Ok(())
    }
}

impl Value for bool {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        u64::from(*self).put(number, out);
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = field.u64(what)? != 0;
        Ok(())
    }
}

/// A text beyond [`limits::TEXT_BYTES_MAX`] is cut there when it is written: it is for people.
impl Value for String {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if !self.is_empty() {
            field::put_str(out, number, &self[..self.floor_char_boundary(limits::TEXT_BYTES_MAX)]);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = field.text(limits::TEXT_BYTES_MAX, what)?.to_owned();
        Ok(())
    }
}

macro_rules! fixed {
    ($($name:ident),*) => {$(
        impl Value for $name {
            fn put(&self, number: u64, out: &mut Vec<u8>) {
                if self.0 != 0 {
                    field::put_fixed64(out, number, self.0);
                }
            }
            fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
                self.0 = field.fixed64(what)?;
                Ok(())
            }
        }
    )*};
}
fixed!(RouterId, Incarnation, ClusterId);

macro_rules! small {
    ($($name:ident),*) => {$(
        impl Value for crate::id::$name {
            fn put(&self, number: u64, out: &mut Vec<u8>) {
                self.0.put(number, out);
            }
            fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
                self.0.merge(field, what)
            }
        }
    )*};
}
small!(ReceiverNumber, SubscriptionNumber);

/// Bytes that only their writer understands, at most [`limits::TEXT_BYTES_MAX`].
impl Value for Vec<u8> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if !self.is_empty() {
            field::put_bytes(out, number, self);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        if field.value.len() > limits::TEXT_BYTES_MAX {
            return Err(DecodeError::Limit { what });
        }
        field.value.clone_into(self);
        Ok(())
    }
}

impl Value for Option<u64> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if let Some(value) = self {
            field::put_u64(out, number, *value);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = Some(field.u64(what)?);
        Ok(())
    }
}

impl Value for Option<RouterId> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if let Some(value) = self {
            field::put_fixed64(out, number, value.0);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = Some(RouterId(field.fixed64(what)?));
        Ok(())
    }
}

/// A type that can be repeated: a list is one field per element.
pub trait Element: Sized {
    /// Most elements that a list of these may have.
    const LIST_MAX: usize;
    /// Appends one element as a field.
    fn put_one(&self, number: u64, out: &mut Vec<u8>);
    /// Reads one element.
    ///
    /// # Errors
    /// [`DecodeError`] when it is malformed or beyond its bound.
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError>;
}

impl<T: Element> Value for Vec<T> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for element in self {
            element.put_one(number, out);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        if self.len() == T::LIST_MAX {
            return Err(DecodeError::Limit { what });
        }
        self.push(T::read(field, what)?);
        Ok(())
    }
}

/// Selectors and addresses travel as text; selectors are the longest.
impl Element for String {
    const LIST_MAX: usize = limits::SELECTORS_PER_RECEIVER_MAX;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_str(out, number, self);
    }
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        Ok(field.text(limits::SELECTOR_BYTES_MAX, what)?.to_owned())
    }
}

impl Element for RouterId {
    const LIST_MAX: usize = limits::ROUTERS_PER_FRAME_MAX;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_fixed64(out, number, self.0);
    }
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        Ok(Self(field.fixed64(what)?))
    }
}

impl Element for PublisherId {
    const LIST_MAX: usize = limits::PUBLISHERS_PER_FRAME_MAX;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_bytes(out, number, &self.0.to_be_bytes());
    }
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        let bytes: [u8; 16] = field.value.try_into().map_err(|_| DecodeError::Malformed { what })?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }
}

impl Element for ReceiverNumber {
    const LIST_MAX: usize = 1024;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_u64(out, number, self.0.into());
    }
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        Ok(Self(field.u32(what)?))
    }
}

impl Element for u64 {
    const LIST_MAX: usize = 4096;
    fn put_one(&self, number: u64, out: &mut Vec<u8>) {
        field::put_u64(out, number, *self);
    }
    fn read(field: &Field<'_>, what: &'static str) -> Result<Self, DecodeError> {
        field.u64(what)
    }
}
