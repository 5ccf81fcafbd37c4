//! The publisher of all groups: it goes round those in use, at its rate.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use millrace_client::{Connections, PublishError, Publisher, PublisherOptions, TagHandle, TagSet};
use millrace_measure::figures::whole;
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};

use super::settings::{Number, tag};
use crate::cluster::Cluster;
use crate::features::clients::client;
use crate::features::error::FeatureError;

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);
/// What could not be published in time is not made up for beyond this.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Which groups are in use, and what was published in each.
#[derive(Debug, Default)]
pub(super) struct Feed {
    in_use: Vec<(Number, TagHandle)>,
    /// Events of each group so far.
    pub(super) published: Vec<u64>,
    /// Why publishing has ended.
    pub(super) failed: Option<String>,
}

/// A handle to the feed.
#[derive(Debug, Clone)]
pub(super) struct Feeder {
    publisher: Rc<Publisher>,
    pub(super) feed: Rc<RefCell<Feed>>,
}

impl Feeder {
    /// Connects to the first router, and begins with no groups.
    pub(super) async fn start(cluster: &Cluster, rate: u64) -> Result<Self, FeatureError> {
        let options = PublisherOptions::default().connections(Connections::One).linger(Duration::ZERO);
        let publisher = client(cluster, 0)?.publisher(options).await.map_err(FeatureError::client)?;
        let feeder = Self { publisher: Rc::new(publisher), feed: Rc::default() };
        let (publisher, feed) = (Rc::clone(&feeder.publisher), Rc::clone(&feeder.feed));
        tokio::task::spawn_local(async move {
            if let Err(error) = run(&publisher, &feed, rate).await {
                feed.borrow_mut().failed = Some(error.to_string());
            }
        });
        Ok(feeder)
    }

    /// Uses these groups from here on, and no others.
    pub(super) fn use_groups(&self, groups: impl IntoIterator<Item = Number>) -> Result<(), FeatureError> {
        let mut in_use = Vec::new();
        for group in groups {
            let tags = TagSet::from_texts([tag(group).as_str()]).map_err(FeatureError::client)?;
            in_use.push((group, self.publisher.register(&tags).map_err(FeatureError::client)?));
        }
        self.feed.borrow_mut().in_use = in_use;
        Ok(())
    }
}

async fn run(publisher: &Publisher, feed: &RefCell<Feed>, rate: u64) -> anyhow::Result<()> {
    let mut payload = [b'.'; PAYLOAD_BYTES_MIN];
    let (mut since, mut count) = (Instant::now(), 0);
    let most = whole(CATCH_UP.as_secs_f64() * rate as f64).max(1);
    let mut turn = 0;
    loop {
        let due = whole(since.elapsed().as_secs_f64() * rate as f64);
        if due > count + most {
            (since, count) = (Instant::now(), 0);
        }
        while count < due {
            let mut feed = feed.borrow_mut();
            count += 1;
            if feed.in_use.is_empty() {
                continue;
            }
            turn = (turn + 1) % feed.in_use.len();
            let (group, handle) = feed.in_use[turn];
            let at = group as usize;
            if feed.published.len() <= at {
                feed.published.resize(at + 1, 0);
            }
            Stamp { emitter: group, n: feed.published[at], scheduled_ns: 0 }.stamp_again(&mut payload)?;
            match publisher.try_publish_at(handle, SystemTime::now(), payload) {
                Ok(_) => feed.published[at] += 1,
                Err(PublishError::WouldBlock) => break,
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(TICK).await;
    }
}
