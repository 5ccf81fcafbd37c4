//! The same question to several routers at once.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinSet;

use super::address::AdminUrl;
use super::http::{AskError, Method, request, unreadable};

/// What one router answered: the page as it is, and as it is read.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) url: AdminUrl,
    /// For `--json`: with everything that this version of the command does not read.
    pub(crate) page: Value,
    pub(crate) read: T,
}

/// Asks one router for a page of JSON.
pub(crate) async fn one<T: DeserializeOwned>(
    url: &AdminUrl,
    method: Method,
    path: &str,
) -> Result<Answer<T>, AskError> {
    let body = request(url, method, path).await?;
    let page: Value = serde_json::from_slice(&body).map_err(|error| unreadable(url, path, error))?;
    let read = T::deserialize(&page).map_err(|error| unreadable(url, path, error))?;
    Ok(Answer { url: url.clone(), page, read })
}

/// Asks all routers at once for a page of JSON; answers in the order of the command line.
pub(crate) async fn all<T: DeserializeOwned + Send + 'static>(
    urls: &[AdminUrl],
    method: Method,
    path: &str,
) -> Vec<Result<Answer<T>, AskError>> {
    let mut asking = JoinSet::new();
    for (place, url) in urls.iter().enumerate() {
        let (url, path) = (url.clone(), path.to_owned());
        asking.spawn(async move { (place, one(&url, method, &path).await) });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|&(place, _)| place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
