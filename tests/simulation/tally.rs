//! What came to pass in a history, so that one in which nothing happens proves nothing.

/// What came to pass, to know that it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Decisions recorded.
    pub decisions: u64,
    /// Incidents opened.
    pub incidents: u64,
    /// Posts on the wire.
    pub posts: u64,
    /// Pages on the wire.
    pub pages: u64,
    /// Effects withdrawn.
    pub withdrawn: u64,
    /// Requests of which nobody knows what became.
    pub in_doubt: u64,
    /// Deaths of the process.
    pub kills: u64,
    /// Deaths of the machine under it.
    pub power_cuts: u64,
    /// Starts that found something torn.
    pub torn: u64,
    /// Turns that a full disk refused.
    pub full_disks: u64,
    /// Inputs that came twice.
    pub repeats: u64,
    /// Hours of promise time.
    pub hours: u64,
    /// Deploys, rollbacks and restarts planned.
    pub plans: u64,
    /// Those that were started.
    pub deploys: u64,
    /// Steps at the host.
    pub steps: u64,
    /// Rollbacks that took over from what ran.
    pub taken_over: u64,
    /// Deploys of an image that were started.
    pub forward: u64,
    /// Deploys that the bot took back by itself.
    pub undone: u64,
    /// Deploys that went on from staging to production.
    pub crossed: u64,
    /// Changes of size or count, to zero and back, that were started.
    pub scaled: u64,
    /// Machines in hand when the process died.
    pub torn_steps: u64,
    /// Changes of alerts that were answered.
    pub alerts: u64,
    /// Groups of alerts that people were told of.
    pub groups: u64,
    /// Groups that stood on the card of another.
    pub stormy: u64,
    /// Verifications that what is measured held up.
    pub held: u64,
    /// Looks at the rules.
    pub looks: u64,
    /// Firings of rules.
    pub fired: u64,
    /// Alerts of another tool that were said to be over, and went on.
    pub went_on: u64,
    /// Restarts done once more, because nothing said any more that they were done.
    pub restarted_again: u64,
}

impl Tally {
    /// Adds another history's.
    pub fn add(&mut self, other: &Tally) {
        let Self { decisions, incidents, posts, pages, withdrawn, in_doubt, .. } = other;
        self.decisions += decisions;
        self.incidents += incidents;
        self.posts += posts;
        self.pages += pages;
        self.withdrawn += withdrawn;
        self.in_doubt += in_doubt;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.torn += other.torn;
        self.full_disks += other.full_disks;
        self.repeats += other.repeats;
        self.hours += other.hours;
        self.plans += other.plans;
        self.deploys += other.deploys;
        self.steps += other.steps;
        self.taken_over += other.taken_over;
        self.forward += other.forward;
        self.undone += other.undone;
        self.crossed += other.crossed;
        self.scaled += other.scaled;
        self.torn_steps += other.torn_steps;
        self.alerts += other.alerts;
        self.groups += other.groups;
        self.stormy += other.stormy;
        self.held += other.held;
        self.looks += other.looks;
        self.fired += other.fired;
        self.went_on += other.went_on;
        self.restarted_again += other.restarted_again;
    }

    /// Histories in which nothing happens prove nothing.
    pub fn assert_eventful(&self, played: u64) {
        assert!(self.decisions > played * 20, "hardly anything was decided: {self:?}");
        assert!(self.kills + self.power_cuts > played * 2, "hardly anything died: {self:?}");
        assert!(self.deploys > played / 2 && self.steps > played, "hardly anything was done at the host: {self:?}");
        let rare = [
            self.torn,
            self.full_disks,
            self.withdrawn,
            self.in_doubt,
            self.pages,
            self.repeats,
            self.incidents,
            self.torn_steps,
            self.taken_over,
            self.forward,
            self.undone,
            self.crossed,
            self.scaled,
            self.alerts,
            self.groups,
            self.stormy,
            self.fired,
            self.went_on,
        ];
        assert!(rare.iter().all(|count| *count > played / 20), "something hardly ever happened: {self:?}");
    }
}
