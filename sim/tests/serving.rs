//! Groups and requests in a small world.

use millrace_sim::serving;

#[test]
fn groups_and_requests_hold_while_members_and_responders_come_and_go() {
    let (mut given, mut marked, mut replies) = (0, 0, 0);
    for seed in 1..5 {
        let outcome = serving::run(seed);
        assert_eq!(outcome.findings.count, 0, "seed {seed}: {:?}", outcome.findings.first);
        given += outcome.given;
        marked += outcome.marked;
        replies += outcome.replies;
    }
    assert!(
        given > 1_000 && marked > 0 && replies > 1_000,
        "{given} given, {marked} marked, {replies} replies"
    );
}
