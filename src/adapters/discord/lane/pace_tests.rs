//! The pace, moved by hand: no socket, no clock.

use secrecy::SecretString;

use super::*;

/// A pace, a time, and the turns of whoever waits.
struct Scene {
    pace: Pace,
    now: Instant,
    turns: BTreeMap<Seq, Turn>,
}

impl Scene {
    fn new(limits: LaneLimits) -> Self {
        Self { pace: Pace::new(limits), now: Instant::now(), turns: BTreeMap::new() }
    }

    fn enter(&mut self, route: &Route, urgency: Urgency, order: Option<&str>) -> Seq {
        let ticket = Ticket::new(route, urgency, order.map(OrderKey::new), 10, self.now);
        let (seq, turn) = self.pace.enter(ticket).expect("the queue has room");
        self.turns.insert(seq, turn);
        seq
    }

    /// Who leaves now, in the order of their places.
    fn leaving(&mut self) -> Vec<Seq> {
        self.pace.pump(self.now);
        let gone: Vec<Seq> =
            self.turns.iter_mut().filter_map(|(seq, turn)| turn.try_recv().is_ok().then_some(*seq)).collect();
        gone.iter().for_each(|seq| drop(self.turns.remove(seq)));
        gone
    }

    fn answer(&mut self, seq: Seq, told: &Limits) {
        self.pace.answered(seq, 200, told, self.now);
    }

    fn limit(&mut self, seq: Seq, scope: Scope, retry_after_ms: u64) {
        let refused = Refused429 { retry_after: Duration::from_millis(retry_after_ms), scope };
        let (_, turn) = self.pace.limited(seq, refused, &Limits::default(), self.now);
        self.turns.insert(seq, turn.expect("it was on the wire"));
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }
}

fn told(hash: &str, limit: u32, remaining: u32) -> Limits {
    Limits {
        bucket: Some(hash.to_owned()),
        limit: Some(limit),
        remaining: Some(remaining),
        reset_after: Some(Duration::from_secs(5)),
        window_ms: Some(1_000),
    }
}

fn post(channel: u64) -> Route {
    Route::create_message(channel)
}

#[test]
fn the_urgent_goes_first_and_equals_go_by_age() {
    let mut scene = Scene::new(LaneLimits::default());
    let first = scene.enter(&post(1), Urgency::Digest, None);
    assert_eq!(scene.leaving(), [first]);
    let digest = scene.enter(&post(1), Urgency::Digest, None);
    let older = scene.enter(&post(1), Urgency::Reminder, None);
    let newer = scene.enter(&post(1), Urgency::Reminder, None);
    let page = scene.enter(&post(1), Urgency::Page, None);
    scene.answer(first, &told("h", 2, 1));
    let mut left = Vec::new();
    for _ in 0..4 {
        left.extend(scene.leaving());
        if let Some(last) = left.last() {
            scene.answer(*last, &Limits { window_ms: None, ..told("h", 1, 0) });
        }
        scene.pass(10_000);
    }
    assert_eq!(left, [page, older, newer, digest]);
}

#[test]
fn nobody_overtakes_within_an_order_but_the_page_behind_lends_its_urgency() {
    let mut scene = Scene::new(LaneLimits::default());
    let first = scene.enter(&post(1), Urgency::Digest, None);
    assert_eq!(scene.leaving(), [first]);
    let other = scene.enter(&post(1), Urgency::Reminder, None);
    let digest = scene.enter(&post(1), Urgency::Digest, Some("INC-7"));
    let page = scene.enter(&post(1), Urgency::Page, Some("INC-7"));
    scene.answer(first, &told("h", 5, 1));
    assert_eq!(scene.leaving(), [digest], "what the page waits behind goes before another incident's reminder");
    scene.answer(digest, &Limits { window_ms: Some(9_000), ..told("h", 5, 4) });
    assert_eq!(scene.leaving(), [other, page]);
}

#[test]
fn one_order_is_on_the_wire_once_and_keeps_its_place_over_a_429() {
    let mut scene = Scene::new(LaneLimits::default());
    let first = scene.enter(&post(1), Urgency::Notice, Some("INC-7"));
    let second = scene.enter(&post(1), Urgency::Page, Some("INC-7"));
    assert_eq!(scene.leaving(), [first]);
    scene.limit(first, Scope::User, 1_000);
    assert_eq!(scene.leaving(), Vec::<Seq>::new());
    scene.pass(1_100);
    assert_eq!(scene.leaving(), [first]);
    scene.answer(first, &told("h", 5, 4));
    assert_eq!(scene.leaving(), [second]);
}

#[test]
fn one_order_goes_one_at_a_time_even_where_nothing_limits_it() {
    let mut scene = Scene::new(LaneLimits::default());
    let first = scene.enter(&post(1), Urgency::Notice, None);
    scene.leaving();
    scene.answer(first, &Limits::default());
    let two: Vec<Seq> = (0..2).map(|_| scene.enter(&post(1), Urgency::Notice, Some("INC-7"))).collect();
    assert_eq!(scene.leaving(), two[..1], "two on the wire could arrive in either order");
    scene.answer(two[0], &Limits::default());
    assert_eq!(scene.leaving(), two[1..]);
}

#[test]
fn the_same_key_in_another_channel_is_another_order() {
    let mut scene = Scene::new(LaneLimits::default());
    let here = scene.enter(&post(1), Urgency::Notice, Some("INC-7"));
    let there = scene.enter(&post(2), Urgency::Notice, Some("INC-7"));
    assert_eq!(scene.leaving(), [here, there]);
}

#[test]
fn routes_with_one_hash_share_one_bucket() {
    let mut scene = Scene::new(LaneLimits::default());
    let posted = scene.enter(&post(1), Urgency::Notice, None);
    let edited = scene.enter(&Route::edit_message(1, 5), Urgency::Notice, None);
    assert_eq!(scene.leaving(), [posted, edited], "two unknown buckets: each sends its first");
    scene.answer(posted, &told("h", 3, 2));
    scene.answer(edited, &told("h", 3, 1));
    let more: Vec<Seq> =
        [post(1), Route::edit_message(1, 5)].iter().map(|route| scene.enter(route, Urgency::Notice, None)).collect();
    assert_eq!(scene.leaving(), more[..1], "one is left for both together");
    let elsewhere = scene.enter(&Route::edit_message(2, 5), Urgency::Notice, None);
    assert_eq!(scene.leaving(), [elsewhere], "another channel has its own");
}

#[test]
fn a_hash_that_changes_under_way_strands_nobody() {
    let mut scene = Scene::new(LaneLimits::default());
    let first = scene.enter(&post(1), Urgency::Notice, None);
    scene.leaving();
    scene.answer(first, &told("old", 5, 4));
    let two: Vec<Seq> = (0..2).map(|_| scene.enter(&post(1), Urgency::Notice, None)).collect();
    assert_eq!(scene.leaving(), two);
    scene.answer(two[0], &told("new", 5, 0));
    let waits = scene.enter(&post(1), Urgency::Notice, None);
    assert_eq!(scene.leaving(), Vec::<Seq>::new());
    scene.answer(two[1], &told("old", 5, 2));
    assert_eq!(scene.leaving(), [waits], "the route is counted by the hash that it was last told");
}

#[test]
fn a_global_429_pauses_all_but_interaction_answers() {
    let mut scene = Scene::new(LaneLimits::default());
    let first = scene.enter(&post(1), Urgency::Notice, None);
    scene.leaving();
    scene.limit(first, Scope::Global, 2_000);
    let other = scene.enter(&post(2), Urgency::Page, None);
    let answer = scene.enter(&Route::interaction_callback(9, &SecretString::from("t")), Urgency::Notice, None);
    assert_eq!(scene.leaving(), [answer]);
    assert!(scene.pace.waiting(scene.now).paused_ms > 0);
    scene.pass(2_100);
    assert_eq!(scene.leaving(), [first, other]);
}

#[test]
fn a_shared_429_holds_one_bucket_and_is_not_held_against_us() {
    let mut scene = Scene::new(LaneLimits::default());
    let first = scene.enter(&post(1), Urgency::Notice, None);
    scene.leaving();
    scene.limit(first, Scope::Shared, 2_000);
    let other = scene.enter(&post(2), Urgency::Notice, None);
    assert_eq!(scene.leaving(), [other]);
    assert_eq!(scene.pace.invalid(scene.now), 0);
}

#[test]
fn never_more_than_the_global_limit_in_any_second_however_late_the_answers() {
    let mut scene = Scene::new(LaneLimits { global_per_second: 3, ..LaneLimits::default() });
    let all: Vec<Seq> = (0..5).map(|channel| scene.enter(&post(channel), Urgency::Notice, None)).collect();
    assert_eq!(scene.leaving(), all[..3]);
    scene.pass(5_000);
    assert_eq!(scene.leaving(), Vec::<Seq>::new(), "the three may be counted when their answers come");
    scene.answer(all[0], &Limits::default());
    scene.pass(999);
    assert_eq!(scene.leaving(), Vec::<Seq>::new());
    scene.pass(1);
    assert_eq!(scene.leaving(), [all[3]]);
}

#[test]
fn the_brake_stops_us_long_before_discord_does_and_lets_go_later() {
    let limits = LaneLimits { invalid_max: 3, invalid_max_answers: 5, ..LaneLimits::default() };
    let mut scene = Scene::new(limits);
    for channel in 0..3 {
        let seq = scene.enter(&post(channel), Urgency::Notice, None);
        assert_eq!(scene.leaving(), [seq]);
        scene.pace.answered(seq, 403, &Limits::default(), scene.now);
    }
    let page = scene.enter(&post(9), Urgency::Page, None);
    let answer = scene.enter(&Route::followup(1, &SecretString::from("t")), Urgency::Notice, None);
    assert_eq!(scene.leaving(), [answer]);
    assert!(scene.pace.waiting(scene.now).braked);
    let wake = scene.pace.pump(scene.now).expect("time lets go of the brake");
    scene.now = wake;
    assert_eq!(scene.leaving(), [page]);
}

#[test]
fn a_full_queue_refuses_posts_and_still_takes_answers() {
    let mut scene = Scene::new(LaneLimits { waiting_max: 1, ..LaneLimits::default() });
    scene.enter(&post(1), Urgency::Notice, None);
    let ticket = Ticket::new(&post(1), Urgency::Page, None, 10, scene.now);
    assert_eq!(scene.pace.enter(ticket).err(), Some(NoPlace { waiting: 1 }));
    scene.enter(&Route::followup(1, &SecretString::from("t")), Urgency::Notice, None);
    let large = LaneLimits { waiting_bytes_max: 9, ..LaneLimits::default() };
    let ticket = Ticket::new(&post(1), Urgency::Page, None, 10, scene.now);
    assert!(Pace::new(large).enter(ticket).is_err());
}

#[test]
fn who_leaves_frees_the_place_wherever_it_is() {
    let mut scene = Scene::new(LaneLimits::default());
    let first = scene.enter(&post(1), Urgency::Notice, Some("INC-7"));
    let second = scene.enter(&post(1), Urgency::Notice, Some("INC-7"));
    let third = scene.enter(&post(1), Urgency::Notice, Some("INC-7"));
    assert_eq!(scene.leaving(), [first]);
    scene.pace.leave(second, Left::NotSent, scene.now);
    scene.pace.leave(first, Left::Lost, scene.now);
    scene.pace.leave(first, Left::Lost, scene.now);
    assert_eq!(scene.leaving(), [third]);
    scene.pace.leave(third, Left::NotSent, scene.now);
    let waiting = scene.pace.waiting(scene.now);
    assert_eq!((waiting.count, waiting.on_the_wire), (0, 0));
}

#[test]
fn what_waits_is_shown_by_urgency() {
    let mut scene = Scene::new(LaneLimits::default());
    scene.enter(&post(1), Urgency::Digest, None);
    scene.pass(500);
    scene.enter(&post(1), Urgency::Page, None);
    let waiting = scene.pace.waiting(scene.now);
    assert_eq!((waiting.count, waiting.oldest_ms), (2, 500));
    let classes: Vec<_> = waiting.classes.iter().map(|class| (class.urgency, class.count, class.oldest_ms)).collect();
    assert_eq!(classes, [(Urgency::Page, 1, 0), (Urgency::Digest, 1, 500)]);
}

#[test]
fn idle_buckets_are_forgotten() {
    let mut scene = Scene::new(LaneLimits::default());
    for interaction in 0..2_000 {
        let token = SecretString::from(format!("token {interaction}"));
        let seq = scene.enter(&Route::interaction_callback(interaction, &token), Urgency::Notice, None);
        assert_eq!(scene.leaving(), [seq]);
        scene.answer(seq, &Limits::default());
    }
    scene.leaving();
    assert!(scene.pace.buckets.len() <= BUCKETS_KEPT, "{} buckets", scene.pace.buckets.len());
}
