//! Who replies: at once, or not before it is told to. A reply is the request's payload.

use std::cell::RefCell;
use std::rc::Rc;

use millrace_client::{
    Client, ConfirmLevel, Connections, Item, Publisher, PublisherOptions, Receiver, ReceiverConnection,
    ReceiverOptions, ReplyTo,
};

use crate::features::error::FeatureError;

/// Replies after which other tasks have their turn.
const AT_ONCE: usize = 64;

/// What a responder has, and how it goes on.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Requests that wait for their replies.
    pub(super) held: Vec<(ReplyTo, Vec<u8>)>,
    /// Whether requests wait.
    pub(super) holds: bool,
    /// Replies that its publisher did not take, and why the last.
    pub(super) failed: Option<String>,
}

/// A responder in this process.
#[derive(Debug)]
pub(super) struct Responder {
    pub(super) desk: Rc<RefCell<Desk>>,
    publisher: Rc<Publisher>,
}

/// A receiver of requests that match, which all routers know.
pub(super) async fn receiver(client: &Client, selector: &str) -> Result<Receiver, FeatureError> {
    let options = ReceiverOptions::default().connection(ReceiverConnection::Own);
    let receiver = client.receiver(options).await.map_err(FeatureError::client)?;
    let mut subscription = receiver.subscribe([selector]).map_err(FeatureError::client)?;
    subscription.in_cluster().await.map_err(FeatureError::client)?;
    Ok(receiver)
}

impl Responder {
    /// Begins to receive what matches.
    pub(super) async fn start(client: &Client, selector: &str) -> Result<Self, FeatureError> {
        let receiver = receiver(client, selector).await?;
        let options = PublisherOptions::default().level(ConfirmLevel::Routed).connections(Connections::One);
        let publisher = Rc::new(client.publisher(options).await.map_err(FeatureError::client)?);
        let desk: Rc<RefCell<Desk>> = Rc::default();
        tokio::task::spawn_local(serve(receiver, Rc::clone(&publisher), Rc::clone(&desk)));
        Ok(Self { desk, publisher })
    }

    /// Replies to all that wait.
    pub(super) async fn release(&self) -> Result<(), FeatureError> {
        let held = {
            let mut desk = self.desk.borrow_mut();
            desk.holds = false;
            std::mem::take(&mut desk.held)
        };
        for some in held.chunks(AT_ONCE) {
            for (reply_to, payload) in some {
                self.reply(reply_to, payload).await?;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Replies to one request.
    pub(super) async fn reply(&self, reply_to: &ReplyTo, payload: &[u8]) -> Result<(), FeatureError> {
        // Whether it arrived is judged where it was asked.
        self.publisher.reply(reply_to, payload).await.map(drop).map_err(FeatureError::client)
    }
}

async fn serve(mut receiver: Receiver, publisher: Rc<Publisher>, desk: Rc<RefCell<Desk>>) {
    while let Some(item) = receiver.next().await {
        let Item::Event(event) = item else { continue };
        let Some(reply_to) = event.reply_to else { continue };
        if desk.borrow().holds {
            desk.borrow_mut().held.push((reply_to, event.payload.to_vec()));
        } else if let Err(error) = publisher.reply(&reply_to, &event.payload).await {
            desk.borrow_mut().failed = Some(error.to_string());
        }
    }
}
