//! The run's own books: what is in each stream, what of it is alive, and how many bytes that is.

use super::body::Recipe;
use super::kind::Kind;
use std::collections::VecDeque;

/// What a place of a body in a stream costs beside the body's bytes: its description and its row in
/// a table. Stated here once more, because the books are nobody else's.
const PLACE_BYTES: u64 = 90;

/// A body and how many places of it are alive.
#[derive(Clone, Copy, Debug)]
struct Body {
    recipe: Recipe,
    bytes: u32,
    places: u32,
    /// The entry it is in.
    index: u64,
}

/// A body's place in a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) base: u64,
    body: u32,
    /// A bit for each record that is alive.
    alive: u32,
    count: u8,
}

impl Place {
    pub(super) fn end(&self) -> u64 {
        self.base + u64::from(self.count)
    }
}

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) end: u64,
    /// Records below are dead by their place.
    trimmed: u64,
    /// Ascending. Dead ones at the front are gone.
    places: VecDeque<Place>,
}

impl Stream {
    pub(super) fn new(id: u64, kind: Kind) -> Self {
        Stream { id, kind, end: 0, trimmed: 0, places: VecDeque::new() }
    }

    /// Places with something alive in them.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.alive != 0)
    }

    /// The live offsets, as ascending ranges that do not touch.
    pub(super) fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for place in self.alive() {
            for nth in (0..u64::from(place.count)).filter(|nth| place.alive >> nth & 1 == 1) {
                let offset = place.base + nth;
                match ranges.last_mut() {
                    Some((_, end)) if *end == offset => *end += 1,
                    _ => ranges.push((offset, offset + 1)),
                }
            }
        }
        ranges
    }

    /// Where the stream starts: its first live record, or for one that dies by place where it was
    /// trimmed to.
    pub(super) fn start(&self) -> u64 {
        match self.places.front() {
            Some(first) if self.kind.is_queue() => first.base + u64::from(first.alive.trailing_zeros()),
            _ if self.kind.is_queue() => self.end,
            _ => self.trimmed,
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    bodies: Vec<Body>,
    pub(super) streams: Vec<Stream>,
    live_bytes: u64,
    pub(super) body_bytes: u64,
    pub(super) messages: u64,
    pub(super) died: u64,
}

impl Ledger {
    /// Notes a body of entry `index`; returns its number.
    pub(super) fn add_body(&mut self, recipe: Recipe, bytes: usize, index: u64) -> u32 {
        self.bodies.push(Body { recipe, bytes: bytes as u32, places: 0, index });
        self.body_bytes += bytes as u64;
        self.bodies.len() as u32 - 1
    }

    /// Puts a body at the end of a stream.
    pub(super) fn put(&mut self, slot: usize, number: u32) {
        let body = &mut self.bodies[number as usize];
        let (stream, count) = (&mut self.streams[slot], body.recipe.count);
        let alive = u32::MAX >> (32 - count);
        stream.places.push_back(Place { base: stream.end, body: number, alive, count: count as u8 });
        stream.end += u64::from(count);
        if body.places == 0 {
            self.live_bytes += u64::from(body.bytes);
        }
        body.places += 1;
        self.live_bytes += PLACE_BYTES;
        self.messages += 1;
    }

    pub(super) fn recipe(&self, place: &Place) -> Recipe {
        self.bodies[place.body as usize].recipe
    }

    pub(super) fn bodies(&self) -> u64 {
        self.bodies.len() as u64
    }

    /// Bytes alive: of bodies, shared ones once, and of places.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Of these, bytes of bodies in entries above `index`, with their places.
    pub(super) fn live_above(&self, index: u64) -> u64 {
        let newest = self.bodies.iter().rev().take_while(|body| body.index > index);
        let alive = newest.filter(|body| body.places > 0);
        alive.map(|body| u64::from(body.bytes) + u64::from(body.places) * PLACE_BYTES).sum()
    }

    /// Messages at or above the start of a queue, alive or not.
    pub(super) fn queued(&self) -> u64 {
        let queues = self.streams.iter().filter(|stream| stream.kind.is_queue());
        queues.map(|stream| stream.end - stream.start()).sum()
    }

    /// A record of a queue is settled. Settled before, it stays so.
    pub(super) fn settle(&mut self, slot: usize, offset: u64) {
        let places = &mut self.streams[slot].places;
        let nth = places.partition_point(|place| place.end() <= offset);
        let Some(place) = places.get_mut(nth).filter(|place| place.base <= offset) else { return };
        let was = place.alive;
        place.alive &= !(1 << (offset - place.base));
        if was != 0 && place.alive == 0 {
            let body = place.body;
            self.lost_place(body);
        }
        self.drop_front(slot);
    }

    /// Everything of a stream below `to` is dead.
    pub(super) fn trim(&mut self, slot: usize, to: u64) {
        let mut lost = Vec::new();
        let stream = &mut self.streams[slot];
        stream.trimmed = stream.trimmed.max(to);
        for place in stream.places.iter_mut().take_while(|place| place.base < to) {
            let was = place.alive;
            place.alive = if place.end() <= to { 0 } else { place.alive & (u32::MAX << (to - place.base)) };
            if was != 0 && place.alive == 0 {
                lost.push(place.body);
            }
        }
        lost.into_iter().for_each(|body| self.lost_place(body));
        self.drop_front(slot);
    }

    /// A stream is gone, and a new one takes its slot.
    pub(super) fn replace(&mut self, slot: usize, new: Stream) {
        let old = std::mem::replace(&mut self.streams[slot], new);
        old.alive().for_each(|place| self.lost_place(place.body));
    }

    /// Where a retention lets the stream start at the earliest and at the latest: at the first
    /// message it keeps, or as many bytes before as are looked at together.
    pub(super) fn retained(&self, slot: usize, now: i64, run_bytes: u64) -> (u64, u64) {
        let stream = &self.streams[slot];
        let bytes = |place: &Place| u64::from(self.bodies[place.body as usize].bytes);
        let kept = match stream.kind {
            Kind::Aged { millis } => {
                let cut = now - millis as i64;
                stream.places.iter().position(|place| self.recipe(place).time.0 >= cut)
            }
            Kind::Sized { bytes: most } => {
                let mut total = 0;
                let kept = stream.places.iter().rev().take_while(|place| {
                    total += bytes(place);
                    total <= most
                });
                Some(stream.places.len() - kept.count())
            }
            _ => Some(0),
        };
        let kept = kept.unwrap_or(stream.places.len());
        let latest = stream.places.get(kept).map_or(stream.end, |place| place.base);
        let (mut earliest, mut total) = (latest, 0);
        for place in stream.places.iter().take(kept).rev() {
            total += bytes(place);
            if total > run_bytes {
                break;
            }
            earliest = place.base;
        }
        (earliest.min(latest).max(stream.trimmed.min(latest)), latest.max(stream.trimmed))
    }

    fn lost_place(&mut self, body: u32) {
        let body = &mut self.bodies[body as usize];
        body.places -= 1;
        self.died += 1;
        self.live_bytes -= PLACE_BYTES;
        if body.places == 0 {
            self.live_bytes -= u64::from(body.bytes);
        }
    }

    fn drop_front(&mut self, slot: usize) {
        let places = &mut self.streams[slot].places;
        while places.front().is_some_and(|place| place.alive == 0) {
            places.pop_front();
        }
    }
}
