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

/// Defines an enum with numbers on the wire and names in metrics; the first variant is the default.
macro_rules! wire_enum {
    ($(#[$doc:meta])* pub enum $name:ident { $(#[$first_doc:meta])* $first_number:literal $first:ident = $first_text:literal, $($(#[$variant_doc:meta])* $number:literal $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub enum $name { $(#[$first_doc])* #[default] $first = $first_number, $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: &'static [Self] = &[Self::$first, $(Self::$variant,)*];

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
                let value = field.u64(what)?;
                *self = Self::ALL.iter().copied().find(|&known| known as u64 == value).ok_or(crate::DecodeError::Malformed { what })?;
                Ok(())
            }
        }
    };
}
pub(crate) use wire_enum;
