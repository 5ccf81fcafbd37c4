//! Macros that turn a table of numbered fields into a message with its encoder and decoder.

/// Defines a message: a struct whose fields have numbers, with its encoder and decoder.
macro_rules! message {
    ($(#[$doc:meta])* pub struct $name:ident = $kind:path { $($(#[$field_doc:meta])* $number:literal $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $name {
            /// Its frame type.
            pub const KIND: u64 = $kind;

            /// Appends the frame.
            pub fn encode(&self, out: &mut Vec<u8>) {
                crate::frame::put(out, Self::KIND, |body| self.encode_fields(body));
            }

            /// Appends the fields without a frame around them.
            pub fn encode_fields(&self, body: &mut Vec<u8>) {
                let _ = &body;
                $(crate::control::Value::put(&self.$field, $number, body);)*
            }

            /// Decodes a frame's body.
            ///
            /// # Errors
            /// [`DecodeError`](crate::DecodeError) when a field is malformed or beyond its bound.
            pub fn decode(body: &[u8]) -> Result<Self, crate::DecodeError> {
                #[allow(unused_mut, reason = "a message may have no fields")]
                let mut message = Self::default();
                for field in crate::field::Fields::new(body) {
                    let field = field?;
                    match field.number {
                        $($number => crate::control::Value::merge(&mut message.$field, &field, stringify!($field))?,)*
                        _ => {}
                    }
                }
                Ok(message)
            }
        }
    };
}
pub(crate) use message;

/// Defines a record: a struct whose fields have numbers, which stands in messages as a list of
/// nested fields.
macro_rules! record {
    ($(#[$doc:meta])* pub struct $name:ident, at most $max:path { $($(#[$field_doc:meta])* $number:literal $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl crate::control::Element for $name {
            const LIST_MAX: usize = $max;
            fn put_one(&self, number: u64, out: &mut Vec<u8>) {
                crate::field::put_nested(out, number, |value| {
                    $(crate::control::Value::put(&self.$field, $number, value);)*
                });
            }
            fn read(entry: &crate::field::Field<'_>, _: &'static str) -> Result<Self, crate::DecodeError> {
                let mut read = Self::default();
                for item in crate::field::Fields::new(entry.value) {
                    let item = item?;
                    match item.number {
                        $($number => crate::control::Value::merge(&mut read.$field, &item, stringify!($field))?,)*
                        _ => {}
                    }
                }
                Ok(read)
            }
        }
    };
}
pub(crate) use record;

/// Defines an enum with numbers on the wire and names in metrics; the first variant is the default.
///
/// A number that is not in the table is read as the variant behind `unknown`, so that later
/// versions can add some.
macro_rules! wire_enum {
    ($(#[$doc:meta])* pub enum $name:ident, unknown $unknown:ident { $(#[$first_doc:meta])* $first_number:literal $first:ident = $first_text:literal, $($(#[$variant_doc:meta])* $number:literal $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        #[non_exhaustive]
        pub enum $name { $(#[$first_doc])* #[default] $first = $first_number, $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: &'static [Self] = &[Self::$first, $(Self::$variant,)*];

            /// The value of a number on the wire.
            #[must_use]
            pub const fn from_number(number: u64) -> Self {
                match number { $first_number => Self::$first, $($number => Self::$variant,)* _ => Self::$unknown }
            }

            /// Its name in metrics and messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { Self::$first => $first_text, $(Self::$variant => $text,)* }
            }
        }

        impl crate::control::Value for $name {
            fn put(&self, number: u64, out: &mut Vec<u8>) {
                crate::field::put_u64(out, number, *self as u64);
            }
            fn merge(&mut self, field: &crate::field::Field<'_>, what: &'static str) -> Result<(), crate::DecodeError> {
                *self = Self::from_number(field.u64(what)?);
                Ok(())
            }
        }

        impl crate::control::Element for $name {
            const LIST_MAX: usize = 64;
            fn put_one(&self, number: u64, out: &mut Vec<u8>) {
                crate::control::Value::put(self, number, out);
            }
            fn read(field: &crate::field::Field<'_>, what: &'static str) -> Result<Self, crate::DecodeError> {
                Ok(Self::from_number(field.u64(what)?))
            }
        }
    };
}
pub(crate) use wire_enum;
