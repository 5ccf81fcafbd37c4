//! Questions of a page to control and to the cores: answered within a bound, or not at all.

use std::time::Duration;

use millrace_engine::control::Control;
use millrace_engine::core::Core;
use millrace_engine::message::CoreIndex;
use millrace_quic::Io;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{timeout, timeout_at};

use crate::view::View;

/// How long control and cores may take to answer; they do within milliseconds.
const ANSWER_MAX: Duration = Duration::from_millis(900);

/// Control's answer; `None` when it has ended or is too busy.
pub(super) async fn control<T: Send + 'static>(
    view: &View,
    question: impl FnOnce(&Control) -> T + Send + 'static,
) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    view.ask_control(move |control| drop(sender.send(question(control)))).ok()?;
    timeout(ANSWER_MAX, answer).await.ok()?.ok()
}

/// The answers of the cores that give one in time, in order of their numbers.
pub(super) async fn cores<T: Send + 'static>(
    view: &View,
    question: impl Fn(&Core, &Io<'_>) -> T + Clone + Send + 'static,
) -> Vec<(CoreIndex, T)> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for number in 0..view.core_count() {
        let (sender, question) = (sender.clone(), question.clone());
        let question = move |core: &Core, io: &Io<'_>| drop(sender.send((number, question(core, io))));
        view.try_ask_core(number, question);
    }
    drop(sender);
    let end = tokio::time::Instant::now() + ANSWER_MAX;
    let mut answers = Vec::new();
    // The channel closes when the last core has answered or has ended.
    while let Ok(Some(answer)) = timeout_at(end, receiver.recv()).await {
        answers.push(answer);
    }
    answers.sort_by_key(|&(core, _)| core);
    answers
}
