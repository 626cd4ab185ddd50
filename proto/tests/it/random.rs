//! Values drawn from a seed: random ones for properties, full ones (every field set, none at its default) for golden
//! bytes.

use std::net::IpAddr;

use only1mcp_domain::ids::Digest;
use only1mcp_domain::time::TimestampMs;

pub struct Gen {
    state: u64,
    full: bool,
}

impl Gen {
    /// Any value, edges included.
    pub fn random(seed: u64) -> Self {
        Self { state: seed, full: false }
    }

    /// Every option present, every list of two, every flag set, every number different. Golden files depend on what
    /// comes out: never change it.
    pub fn full() -> Self {
        Self { state: 0, full: true }
    }

    /// A generator that goes on from here and leaves this one where it is, for values added later than others.
    pub fn aside(&self) -> Self {
        Self { state: self.state, full: self.full }
    }

    /// A generator of its own for values that come from several hands at one time: what others add moves nothing here.
    pub fn apart(&self, number: u64) -> Self {
        let state = if self.full { number * 1_000 } else { self.state ^ (number << 32) };
        Self { state, full: self.full }
    }

    /// SplitMix64, or a counter.
    pub fn bits(&mut self) -> u64 {
        if self.full {
            self.state += 1;
            return self.state;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    pub fn number(&mut self) -> u64 {
        if self.full {
            return self.bits();
        }
        match self.below(6) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => self.below(300),
            _ => self.bits(),
        }
    }

    pub fn number32(&mut self) -> u32 {
        self.number() as u32
    }

    pub fn money(&mut self) -> i128 {
        let wide = (i128::from(self.bits()) << 64) | i128::from(self.bits());
        if self.full { -wide } else { wide }
    }

    pub fn flag(&mut self) -> bool {
        self.full || self.below(2) == 1
    }

    pub fn option<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    pub fn list<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let len = if self.full { 2 } else { self.below(4) };
        (0..len).map(|_| make(self)).collect()
    }

    /// One of `choices`; the last one when full.
    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        let at = if self.full { choices.len() - 1 } else { self.below(choices.len() as u64) as usize };
        choices[at].clone()
    }

    /// Free text: any characters, also none.
    pub fn text(&mut self) -> String {
        if self.full {
            return format!("text {}", self.bits());
        }
        const PIECES: [&str; 8] = ["a", "Z", " ", "\0", "é", "𝄞", "\u{202e}", "\"\n"];
        let len = self.below(12);
        (0..len).map(|_| self.pick(&PIECES)).collect()
    }

    /// Fits every kind of identifier.
    pub fn slug(&mut self) -> String {
        if self.full {
            return format!("id-{}", self.bits());
        }
        let tail = self.below(30);
        let mut slug = self.pick(&["a", "z", "0", "9"]).to_owned();
        for _ in 0..tail {
            slug.push_str(self.pick(&["a", "m", "z", "0", "9", "-"]));
        }
        slug
    }

    pub fn raw<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.bits() as u8)
    }

    pub fn digest(&mut self) -> Digest {
        Digest(self.raw())
    }

    pub fn time(&mut self) -> TimestampMs {
        TimestampMs(self.number())
    }

    pub fn ip(&mut self) -> IpAddr {
        if self.flag() { IpAddr::from(self.raw::<16>()) } else { IpAddr::from(self.raw::<4>()) }
    }
}
