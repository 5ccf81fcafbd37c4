//! Names of receivers and of shared streams on their core.

/// A receiver's place on its core: the `receiver` of [`LocalTarget`](crate::matching::LocalTarget).
/// It is used again after the receiver is gone.
pub(super) type ReceiverSlot = u32;

/// The place of a stream that all receivers of a connection share. It is used again after the
/// connection is gone.
pub(super) type DeliverySlot = u32;
