//! Setters of settings: one line for each field, because a program cannot write out a struct to
//! which later versions add fields.

/// Consuming setters, each of the name and the type of its field; an optional field is declared as
/// `impl Into<Option<T>>` and takes a `T` as well as an `Option<T>`.
macro_rules! setters {
    ($($field:ident: $kind:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: $kind) -> Self {
            self.$field = $field.into();
            self
        }
    )*};
}

pub(crate) use setters;
