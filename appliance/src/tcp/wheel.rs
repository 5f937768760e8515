//! A hierarchical timing wheel: one timer per key, O(1) to set and cancel, no allocation once grown.
//!
//! After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987): six levels of 64 slots. A timer
//! sits at the level of the highest six bits in which its due tick differs from the current one, and moves
//! down as that time approaches. Timers never fire early, and at most one tick (65.5 µs) late.

use crate::time::Instant;
use alloc::vec::Vec;

const TICK_SHIFT: u32 = 16;
const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Timers further away than this many ticks (51 days) fire early by design, and their owner sets them again.
/// One slot of the highest level less than its span, or a timer could land in the slot that is open now.
const HORIZON: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - (1 << (SLOT_BITS * (LEVELS as u32 - 1)));
const NONE: u32 = u32::MAX;

/// Where a timer is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Idle,
    Slot { level: u8, slot: u8 },
    Due,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    previous: u32,
    due_tick: u64,
    place: Place,
}

const IDLE: Node = Node { next: NONE, previous: NONE, due_tick: 0, place: Place::Idle };

/// Timers keyed by small dense numbers.
#[derive(Debug)]
pub struct Wheel {
    nodes: Vec<Node>,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    due: u32,
    /// Everything up to this tick has been moved to `due`.
    elapsed: u64,
}

impl Wheel {
    /// An empty wheel that starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            nodes: Vec::new(),
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            due: NONE,
            elapsed: now.as_nanos() >> TICK_SHIFT,
        }
    }

    /// Sets the timer of `key` to `at`, replacing any previous setting.
    pub fn set(&mut self, key: u32, at: Instant) {
        if self.nodes.len() <= key as usize {
            self.nodes.resize(key as usize + 1, IDLE);
        }
        self.unlink(key);
        let tick = at.as_nanos().saturating_add((1 << TICK_SHIFT) - 1) >> TICK_SHIFT;
        self.nodes[key as usize].due_tick = tick.min(self.elapsed.saturating_add(HORIZON));
        self.link(key);
    }

    /// Cancels the timer of `key`, if it is set.
    pub fn cancel(&mut self, key: u32) {
        if (key as usize) < self.nodes.len() {
            self.unlink(key);
        }
    }

    /// When the timer of `key` is set to fire.
    pub fn deadline(&self, key: u32) -> Option<Instant> {
        let node = self.nodes.get(key as usize)?;
        (node.place != Place::Idle).then(|| Instant::from_nanos(node.due_tick << TICK_SHIFT))
    }

    /// Takes one key whose timer has fired.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let now_tick = now.as_nanos() >> TICK_SHIFT;
        while self.due == NONE {
            match self.next_slot() {
                Some((level, slot, tick)) if tick <= now_tick => self.open(level, slot, tick),
                _ => {
                    self.elapsed = self.elapsed.max(now_tick);
                    return None;
                }
            }
        }
        let key = self.due;
        self.unlink(key);
        Some(key)
    }

    /// A lower bound of the first timer's time.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.due != NONE {
            return Some(Instant::from_nanos(self.elapsed << TICK_SHIFT));
        }
        self.next_slot().map(|(_, _, tick)| Instant::from_nanos(tick << TICK_SHIFT))
    }

    /// The first occupied slot, and the tick at which it must be opened.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        // A timer of a higher level is always later than all of lower levels, since its six bits differ from
        // the current ones.
        (0..LEVELS).find(|&level| self.occupied[level] != 0).map(|level| {
            let shift = SLOT_BITS * level as u32;
            let position = (self.elapsed >> shift) as usize % SLOTS;
            let ahead = self.occupied[level].rotate_right(position as u32).trailing_zeros() as usize;
            let slot = (position + ahead) % SLOTS;
            let tick = ((self.elapsed >> shift) + ahead as u64) << shift;
            (level, slot, tick.max(self.elapsed))
        })
    }

    /// Empties a slot at its time: timers become due or move to lower levels.
    fn open(&mut self, level: usize, slot: usize, tick: u64) {
        self.elapsed = tick;
        let mut key = self.heads[level][slot];
        self.heads[level][slot] = NONE;
        self.occupied[level] &= !(1 << slot);
        while key != NONE {
            let next = self.nodes[key as usize].next;
            self.nodes[key as usize].place = Place::Idle;
            self.link(key);
            key = next;
        }
    }

    fn link(&mut self, key: u32) {
        let tick = self.nodes[key as usize].due_tick;
        let (place, head) = if tick <= self.elapsed {
            (Place::Due, &mut self.due)
        } else {
            let level = ((tick ^ self.elapsed).ilog2() / SLOT_BITS).min(LEVELS as u32 - 1) as usize;
            let slot = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
            self.occupied[level] |= 1 << slot;
            (Place::Slot { level: level as u8, slot: slot as u8 }, &mut self.heads[level][slot])
        };
        let next = core::mem::replace(head, key);
        if next != NONE {
            self.nodes[next as usize].previous = key;
        }
        let node = &mut self.nodes[key as usize];
        node.next = next;
        node.previous = NONE;
        node.place = place;
    }

    fn unlink(&mut self, key: u32) {
        let Node { next, previous, place, .. } = self.nodes[key as usize];
        if next != NONE && place != Place::Idle {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE && place != Place::Idle {
            self.nodes[previous as usize].next = next;
        }
        match place {
            Place::Idle => return,
            Place::Due if previous == NONE => self.due = next,
            Place::Slot { level, slot } if previous == NONE => {
                self.heads[level as usize][slot as usize] = next;
                if next == NONE {
                    self.occupied[level as usize] &= !(1 << slot);
                }
            }
            Place::Due | Place::Slot { .. } => {}
        }
        self.nodes[key as usize] = Node { due_tick: self.nodes[key as usize].due_tick, ..IDLE };
    }
}

#[cfg(test)]
#[path = "wheel_tests.rs"]
mod tests;
