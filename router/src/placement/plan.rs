//! Where each core runs, decided from a description of the machine alone.

use std::collections::BTreeSet;
use std::fmt;

use super::Machine;
use crate::config::Pinning;

/// Where one core runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// Where the system puts it.
    Anywhere,
    /// On this CPU first; the system may move it when others keep that CPU busy.
    Soft(usize),
    /// On this CPU alone.
    Pinned(usize),
}

/// Why cores run where they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The setting says so.
    Set,
    /// The kernel runs nothing else on these CPUs.
    Isolated,
    /// A control group keeps these CPUs from all others.
    Exclusive,
    /// The process's cpuset has as many CPUs as its quota.
    Whole,
    /// Others may run on these CPUs.
    Shared,
    /// There are fewer CPUs than cores.
    Few,
}

impl Why {
    /// In words, for the log and the status page.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Set => "set by cores.pin",
            Self::Isolated => "the kernel isolates these CPUs",
            Self::Exclusive => "the process's cpuset is exclusive",
            Self::Whole => "the process's cpuset has as many CPUs as its quota",
            Self::Shared => "other programs may run on these CPUs",
            Self::Few => "the process may use fewer CPUs than it has cores",
        }
    }
}

/// Where all threads of a router run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Each core's seat.
    pub(crate) seats: Vec<Seat>,
    /// CPUs for threads that do not route: those that no core is pinned to. Empty: any.
    pub(crate) others: BTreeSet<usize>,
    /// CPUs that a core with a soft seat may be moved to.
    pub(crate) usable: BTreeSet<usize>,
    pub(crate) why: Why,
}

impl Placement {
    /// `pinned`, `soft` or `off`.
    pub(crate) fn mode(&self) -> &'static str {
        match self.seats.first() {
            Some(Seat::Pinned(_)) => "pinned",
            Some(Seat::Soft(_)) => "soft",
            _ => "off",
        }
    }

    /// The CPU of each core, in order, where it has one.
    pub(crate) fn cpus(&self) -> Vec<usize> {
        let cpu = |seat: &Seat| match seat {
            Seat::Anywhere => None,
            Seat::Soft(cpu) | Seat::Pinned(cpu) => Some(*cpu),
        };
        self.seats.iter().filter_map(cpu).collect()
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mode())?;
        if !self.cpus().is_empty() {
            let cpus: Vec<String> = self.cpus().iter().map(ToString::to_string).collect();
            write!(f, " on {}", cpus.join(","))?;
        }
        write!(f, " ({})", self.why.text())
    }
}

/// Plans the seats of `cores` cores. `router` is any number that differs between routers, so that
/// those on one host spread over its CPUs.
pub(crate) fn plan(pinning: &Pinning, cores: u16, machine: &Machine, router: u64) -> Placement {
    let count = usize::from(cores);
    match pinning {
        Pinning::Off => anywhere(count, Why::Set),
        Pinning::Cpus(cpus) => pinned(cpus.iter().copied(), count, machine, Why::Set),
        Pinning::On if machine.allowed.len() < count => anywhere(count, Why::Few),
        Pinning::On => pinned(machine.allowed.iter().copied(), count, machine, Why::Set),
        Pinning::Auto => match own(machine, count) {
            Some((cpus, why)) => pinned(cpus.into_iter(), count, machine, why),
            None => soft(count, machine, router),
        },
    }
}

/// CPUs that are the router's own, enough for its cores, with the reason.
fn own(machine: &Machine, count: usize) -> Option<(BTreeSet<usize>, Why)> {
    let isolated: BTreeSet<usize> = machine.allowed.intersection(&machine.isolated).copied().collect();
    if isolated.len() >= count {
        return Some((isolated, Why::Isolated));
    }
    let is_part = machine.allowed.len() < machine.online.len();
    if !is_part || machine.allowed.len() < count {
        return None;
    }
    // The static CPU manager gives whole CPUs to containers whose limit is a whole number, and a
    // cpuset of that size. A container in the shared pool has more CPUs than its limit.
    let is_whole = machine.quota.is_some_and(|(quota, period)| {
        period.checked_mul(machine.allowed.len() as u64).is_some_and(|whole| whole == quota)
    });
    match (machine.is_exclusive, is_whole) {
        (true, _) => Some((machine.allowed.clone(), Why::Exclusive)),
        (false, true) => Some((machine.allowed.clone(), Why::Whole)),
        (false, false) => None,
    }
}

fn anywhere(count: usize, why: Why) -> Placement {
    Placement { seats: vec![Seat::Anywhere; count], others: BTreeSet::new(), usable: BTreeSet::new(), why }
}

fn pinned(cpus: impl Iterator<Item = usize>, count: usize, machine: &Machine, why: Why) -> Placement {
    let seats: Vec<Seat> = cpus.take(count).map(Seat::Pinned).collect();
    let is_free = |cpu: &usize| !seats.contains(&Seat::Pinned(*cpu));
    let others = machine.allowed.iter().copied().filter(is_free).collect();
    Placement { seats, others, usable: BTreeSet::new(), why }
}

fn soft(count: usize, machine: &Machine, router: u64) -> Placement {
    // The kernel never moves a thread between isolated CPUs, so that a soft seat there would be a
    // hard one.
    let mut usable: BTreeSet<usize> = machine.allowed.difference(&machine.isolated).copied().collect();
    if usable.is_empty() {
        usable.clone_from(&machine.allowed);
    }
    if usable.len() < count {
        return anywhere(count, Why::Few);
    }
    let first = usize::try_from(router % usable.len() as u64).unwrap_or(0);
    let seats = usable.iter().copied().cycle().skip(first).take(count).map(Seat::Soft).collect();
    Placement { seats, others: usable.clone(), usable, why: Why::Shared }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(online: usize, allowed: &[usize]) -> Machine {
        Machine {
            online: (0..online).collect(),
            allowed: allowed.iter().copied().collect(),
            ..Machine::default()
        }
    }

    fn check(pinning: &Pinning, cores: u16, machine: &Machine, router: u64, expected: &str) {
        assert_eq!(plan(pinning, cores, machine, router).to_string(), expected);
    }

    #[test]
    fn cores_leave_a_busy_cpu_where_others_may_run() {
        let shared = "other programs may run on these CPUs";
        check(&Pinning::Auto, 2, &machine(4, &[0, 1, 2, 3]), 0, &format!("soft on 0,1 ({shared})"));
        // A part of the machine, which others may share.
        check(&Pinning::Auto, 2, &machine(8, &[2, 3, 4]), 0, &format!("soft on 2,3 ({shared})"));
        // Several routers on a host begin on different CPUs.
        check(&Pinning::Auto, 2, &machine(4, &[0, 1, 2, 3]), 7, &format!("soft on 3,0 ({shared})"));
        // The pool of a static CPU manager: more CPUs than the quota.
        let pool = Machine { quota: Some((200_000, 100_000)), ..machine(8, &[2, 3, 4, 5]) };
        check(&Pinning::Auto, 2, &pool, 0, &format!("soft on 2,3 ({shared})"));
        // An exclusive group that holds the whole machine keeps nobody away.
        let root = Machine { is_exclusive: true, ..machine(2, &[0, 1]) };
        check(&Pinning::Auto, 2, &root, 0, &format!("soft on 0,1 ({shared})"));
    }

    #[test]
    fn cores_are_pinned_to_cpus_of_their_own() {
        let exclusive = Machine { is_exclusive: true, ..machine(8, &[4, 5, 6]) };
        check(&Pinning::Auto, 2, &exclusive, 9, "pinned on 4,5 (the process's cpuset is exclusive)");
        assert_eq!(plan(&Pinning::Auto, 2, &exclusive, 9).others, BTreeSet::from([6]));
        let whole = Machine { quota: Some((300_000, 100_000)), ..machine(8, &[4, 5, 6]) };
        let why = "the process's cpuset has as many CPUs as its quota";
        check(&Pinning::Auto, 3, &whole, 9, &format!("pinned on 4,5,6 ({why})"));
        let isolated = Machine { isolated: BTreeSet::from([6, 7]), ..machine(8, &[0, 1, 6, 7]) };
        check(&Pinning::Auto, 2, &isolated, 9, "pinned on 6,7 (the kernel isolates these CPUs)");
        assert_eq!(plan(&Pinning::Auto, 2, &isolated, 9).others, BTreeSet::from([0, 1]));
        // Too few isolated CPUs: the others are shared.
        check(&Pinning::Auto, 3, &isolated, 0, "off (the process may use fewer CPUs than it has cores)");
    }

    #[test]
    fn what_is_set_holds_on_any_machine() {
        let two = machine(2, &[0, 1]);
        check(&Pinning::Off, 2, &two, 0, "off (set by cores.pin)");
        check(&Pinning::On, 2, &two, 1, "pinned on 0,1 (set by cores.pin)");
        check(&Pinning::Cpus(vec![3, 1]), 2, &two, 1, "pinned on 3,1 (set by cores.pin)");
        for pinning in [Pinning::On, Pinning::Auto] {
            check(&pinning, 3, &two, 0, "off (the process may use fewer CPUs than it has cores)");
        }
        check(
            &Pinning::Auto,
            1,
            &Machine::default(),
            0,
            "off (the process may use fewer CPUs than it has cores)",
        );
    }
}
