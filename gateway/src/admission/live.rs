//! What may be replaced while it is in use: whoever reads it sees the whole of the one or of the
//! other.

use std::sync::Arc;

use tokio::sync::watch;

/// A value of which all clones have the newest.
#[derive(Debug)]
pub struct Live<T>(Arc<watch::Sender<Arc<T>>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Default> Default for Live<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Live<T> {
    /// The first value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(value))))
    }

    /// The value.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        self.0.borrow().clone()
    }

    /// Puts another one in its place.
    pub fn replace(&self, value: Arc<T>) {
        self.0.send_replace(value);
    }

    /// Tells of those that come from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<T>> {
        self.0.subscribe()
    }
}
