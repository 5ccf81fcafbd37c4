//! The name of a receiver on its core.

/// A receiver's place on its core: the `receiver` of [`LocalTarget`](crate::matching::LocalTarget). It is used again after
/// the receiver is gone.
pub(super) type ReceiverSlot = u32;
