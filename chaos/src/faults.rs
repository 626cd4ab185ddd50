//! What goes wrong, when: crashes that lose what was not synced, and links that drop or hold messages.

use std::collections::BTreeMap;

use crate::rng::Rng;
use crate::stage::Stage;
use crate::world::Shape;

pub const ROW_ROT: &str = "row rot";
pub const SEGMENT_ROT: &str = "segment rot";

/// What a node cannot lose and go on under its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Log,
    Vote,
    Journal,
}

impl Part {
    /// Of the fault, and of its being noticed.
    pub fn rot(self) -> &'static str {
        match self {
            Part::Log => "log rot",
            Part::Vote => "vote rot",
            Part::Journal => "journal rot",
        }
    }
}

/// Something done to the world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    Crash(u64),
    Restart(u64),
    /// Nothing passes between the two.
    Cut(u64, u64),
    /// Nothing passes from the first to the second.
    CutOneWay(u64, u64),
    /// Messages wait until the link is mended.
    Hold(u64, u64),
    /// Messages take so long.
    Slow(u64, u64, u64),
    /// Some messages are lost.
    Lossy(u64, u64),
    Mend(u64, u64),
    /// The wall clock is wrong by this much; 0: right again.
    Clock(u64, i64),
    /// The process stands still for this long, between checking a call and sending it, and its disk with it.
    Pause(u64, u64),
    /// A crash, after which the node finds its journal as it was at an earlier one.
    OldJournal(u64),
    /// A crash, after which the node finds its whole folder as it was at an earlier one.
    OldFolder(u64),
    /// After so many writes the disk fails: with an I/O error, or because it is full.
    DiskFails(u64, u64, bool),
    /// A crash, and a row on the disk rots.
    Rot(u64),
    /// A segment of the audit trail rots below a node that runs.
    RotSegment(u64),
    /// A crash, and what no node can make again rots.
    RotForGood(u64, Part),
    /// A crash, after which the end of the log, so many records that the disk said were there, is not; in a way that
    /// opening the log notices, or not.
    Lied(u64, usize, bool),
    /// A crash for good.
    Lost(u64),
}

impl Fault {
    /// `None` for the end of one.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Fault::Crash(_) => "crash",
            Fault::Cut(..) => "cut",
            Fault::CutOneWay(..) => "cut one way",
            Fault::Hold(..) => "hold",
            Fault::Slow(..) => "slow link",
            Fault::Lossy(..) => "lossy link",
            Fault::Clock(_, jump_ms) if jump_ms.unsigned_abs() >= YEAR_MS => "clock a year off",
            Fault::Clock(_, jump_ms) if *jump_ms != 0 => "clock jump",
            Fault::Pause(..) => "pause",
            Fault::OldJournal(_) => "old journal put back",
            Fault::OldFolder(_) => "old folder put back",
            Fault::DiskFails(_, _, false) => "I/O error",
            Fault::DiskFails(_, _, true) => "disk full",
            Fault::Rot(_) => ROW_ROT,
            Fault::RotSegment(_) => SEGMENT_ROT,
            Fault::RotForGood(_, part) => part.rot(),
            Fault::Lied(..) => "lying disk",
            Fault::Lost(_) => "lost for good",
            Fault::Restart(_) | Fault::Mend(..) | Fault::Clock(..) => return None,
        })
    }
}

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// The same for one pair of nodes, whichever is named first.
type Link = (u64, u64);

/// Decides what happens next.
pub struct Faults {
    rng: Rng,
    /// Nodes that something may happen to.
    members: Vec<u64>,
    next_ms: u64,
    /// Crashed nodes and when they come back.
    down: BTreeMap<u64, u64>,
    /// Broken links and when they are mended.
    broken: BTreeMap<Link, u64>,
    /// A node whose clock is wrong, and until when. One at a time: time is what most of the nodes think.
    wrong: Option<(u64, u64)>,
    /// The last of the numbers that draw what happens.
    lots: u64,
    /// One node's rows and segments may rot. The others are what they are made again from.
    may_rot: bool,
    /// Which it is.
    rotten: Option<u64>,
    rows_rotted: bool,
}

impl Faults {
    pub fn new(mut rng: Rng, begin_ms: u64, shape: &Shape, may_rot: bool) -> Self {
        let next_ms = begin_ms.saturating_add(rng.between(100, 1_000));
        Self {
            rng,
            members: (1..=shape.founders).collect(),
            next_ms,
            down: BTreeMap::new(),
            broken: BTreeMap::new(),
            wrong: None,
            may_rot,
            lots: if shape.rots { 190 } else { 179 },
            rotten: None,
            rows_rotted: false,
        }
    }

    /// What is due at `now_ms`.
    pub fn due(&mut self, now_ms: u64) -> Vec<Fault> {
        let mut due = self.ended(now_ms);
        if now_ms >= self.next_ms {
            self.next_ms = now_ms.saturating_add(self.rng.between(150, 1_400));
            self.strike(now_ms, &mut due);
        }
        due
    }

    /// Undoes everything.
    pub fn end(&mut self) -> Vec<Fault> {
        self.ended(u64::MAX)
    }

    /// Nothing happens to `node` any more. What ends what happened to its links.
    pub fn leaves(&mut self, node: u64) -> Vec<Fault> {
        self.members.retain(|member| *member != node);
        self.down.remove(&node);
        let own: Vec<Link> = self.broken.keys().filter(|(a, b)| *a == node || *b == node).copied().collect();
        self.broken.retain(|link, _| !own.contains(link));
        own.into_iter().map(|(a, b)| Fault::Mend(a, b)).collect()
    }

    pub fn joins(&mut self, node: u64) {
        if !self.members.contains(&node) {
            self.members.push(node);
        }
    }

    pub fn is_among(&self, node: u64) -> bool {
        self.members.contains(&node)
    }

    /// One that something may happen to.
    pub fn node(&mut self) -> u64 {
        self.rng.pick(&self.members).copied().unwrap_or(1)
    }

    fn rots(&mut self) -> u64 {
        let drawn = self.node();
        *self.rotten.get_or_insert(drawn)
    }

    fn links(&self) -> Vec<Link> {
        let pairs = self.members.iter().flat_map(|a| self.members.iter().map(|b| (*a, *b)));
        pairs.filter(|(a, b)| a < b).collect()
    }

    fn ended(&mut self, now_ms: u64) -> Vec<Fault> {
        let up: Vec<u64> = self.down.iter().filter(|(_, at)| **at <= now_ms).map(|(node, _)| *node).collect();
        let mended: Vec<Link> =
            self.broken.iter().filter(|(_, at)| **at <= now_ms).map(|(link, _)| *link).collect();
        let mut done = Vec::new();
        if let Some((node, _)) = self.wrong.take_if(|(_, until)| *until <= now_ms) {
            done.push(Fault::Clock(node, 0));
        }
        for node in up {
            self.down.remove(&node);
            done.push(Fault::Restart(node));
        }
        for (a, b) in mended {
            self.broken.remove(&(a, b));
            done.push(Fault::Mend(a, b));
        }
        done
    }

    fn strike(&mut self, now_ms: u64, due: &mut Vec<Fault>) {
        match self.rng.between(0, self.lots) {
            0..=34 => {
                let node = self.node();
                self.crash(node, now_ms, Fault::Crash, due);
            }
            100..=107 => {
                let node = self.node();
                self.crash(node, now_ms, Fault::OldJournal, due);
            }
            108..=118 => self.wrong_clock(now_ms, due),
            119..=129 => {
                let node = self.node();
                due.push(Fault::Pause(node, self.rng.between(100, 4_000)));
            }
            // Power loss of two nodes, or of all.
            35..=44 => {
                let spared = if self.rng.percent(25) { None } else { Some(self.node()) };
                for node in self.members.clone() {
                    if Some(node) != spared {
                        self.crash(node, now_ms, Fault::Crash, due);
                    }
                }
            }
            45..=59 => {
                // One node alone.
                let node = self.node();
                let own = |(a, b): &Link| *a == node || *b == node;
                for link in self.links().into_iter().filter(own) {
                    self.breaks(link, now_ms, Fault::Cut(link.0, link.1), due);
                }
            }
            60..=74 => self.some_link(now_ms, due, Fault::Cut),
            75..=89 => self.some_link(now_ms, due, Fault::CutOneWay),
            130..=139 => self.bridge(now_ms, due),
            140..=149 => {
                let ms = self.rng.between(50, 900);
                self.some_link(now_ms, due, |a, b| Fault::Slow(a, b, ms));
            }
            150..=159 => self.some_link(now_ms, due, Fault::Lossy),
            160..=174 => {
                let (node, after, full) = (self.node(), self.rng.between(0, 30), self.rng.percent(50));
                self.crash(node, now_ms, |node| Fault::DiskFails(node, after, full), due);
            }
            175..=179 if self.may_rot && !self.rows_rotted => {
                let node = self.rots();
                if !self.down.contains_key(&node) {
                    self.rows_rotted = true;
                    self.crash(node, now_ms, Fault::Rot, due);
                }
            }
            180..=190 if self.may_rot => due.push(Fault::RotSegment(self.rots())),
            _ => self.some_link(now_ms, due, Fault::Hold),
        }
    }

    /// Two sides that see one node each, and each other not.
    fn bridge(&mut self, now_ms: u64, due: &mut Vec<Fault>) {
        let middle = self.node();
        let sides: Vec<u64> = self.members.iter().copied().filter(|node| *node != middle).collect();
        let (left, right) = sides.split_at(sides.len() / 2);
        for link in self.links() {
            let across = |a: &u64, b: &u64| left.contains(a) && right.contains(b);
            if across(&link.0, &link.1) || across(&link.1, &link.0) {
                self.breaks(link, now_ms, Fault::Cut(link.0, link.1), due);
            }
        }
    }

    fn crash(&mut self, node: u64, now_ms: u64, fault: impl FnOnce(u64) -> Fault, due: &mut Vec<Fault>) {
        if self.down.contains_key(&node) {
            return;
        }
        let away_ms = match self.rng.between(0, 9) {
            0..=4 => self.rng.between(1, 100),
            5..=8 => self.rng.between(100, 4_000),
            _ => self.rng.between(5_000, 9_000),
        };
        self.down.insert(node, now_ms.saturating_add(away_ms));
        due.push(fault(node));
    }

    fn wrong_clock(&mut self, now_ms: u64, due: &mut Vec<Fault>) {
        if self.wrong.is_some() {
            return;
        }
        let node = self.node();
        let far = if self.rng.percent(15) { YEAR_MS } else { self.rng.between(300, 90_000) };
        let far = i64::try_from(far).unwrap_or(300);
        let jump_ms = if self.rng.percent(50) { far } else { far.saturating_neg() };
        self.wrong = Some((node, now_ms.saturating_add(self.rng.between(500, 6_000))));
        due.push(Fault::Clock(node, jump_ms));
    }

    fn some_link(&mut self, now_ms: u64, due: &mut Vec<Fault>, fault: impl FnOnce(u64, u64) -> Fault) {
        let links = self.links();
        let Some((a, b)) = self.rng.pick(&links).copied() else { return };
        let (from, to) = if self.rng.percent(50) { (a, b) } else { (b, a) };
        self.breaks((a, b), now_ms, fault(from, to), due);
    }

    fn breaks(&mut self, link: Link, now_ms: u64, fault: Fault, due: &mut Vec<Fault>) {
        if self.broken.contains_key(&link) {
            return;
        }
        let until = now_ms.saturating_add(self.rng.between(100, 5_000));
        self.broken.insert(link, until);
        due.push(fault);
    }

    pub fn tell(stage: &Stage, fault: &Fault) {
        stage.trace.line("--", format_args!("{fault:?}"));
    }
}
