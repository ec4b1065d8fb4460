//! Where a shape goes: into a hash or into a text.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::{FixedState, FoldHasher};

use crate::wire::doc::Element;

/// Takes the parts of a shape in their order.
pub(super) trait Sink {
    /// What [`Sink::begin`] remembers.
    type Mark;
    /// One of several clauses.
    type Clause: Copy;

    /// A part that isn't a value.
    fn put(&mut self, text: &str);

    /// Whether it has taken as many parts as a shape may have: what comes after them doesn't count.
    fn is_full(&self) -> bool;

    /// A value that is part of the shape.
    fn literal(&mut self, value: &Element<'_>);

    /// A clause of a list begins.
    fn begin(&mut self) -> Self::Mark;

    /// It ends, and its place among others doesn't matter: its hash, for [`Sink::sum`].
    fn part(&mut self, mark: Self::Mark) -> u64;

    /// All of those have ended.
    fn sum(&mut self, parts: u64);

    /// It ends. One that is like the clause before it is taken back.
    fn end(&mut self, mark: Self::Mark, last: Option<Self::Clause>) -> Self::Clause;
}

/// The hash of a shape.
pub(super) struct Hash {
    state: FoldHasher<'static>,
    parts: u32,
}

static STATE: FixedState = FixedState::with_seed(0x7065_7469_6f6c_6521);

impl Default for Hash {
    fn default() -> Hash {
        Hash {
            state: STATE.build_hasher(),
            parts: 0,
        }
    }
}

impl Hash {
    /// A name that is part of the shape.
    pub fn name(&mut self, name: &[u8]) {
        self.state.write(name);
    }

    pub fn finish(&self) -> u64 {
        self.state.finish()
    }
}

impl Sink for Hash {
    type Mark = FoldHasher<'static>;
    type Clause = u64;

    // (Only ever `write`: foldhash keeps numbers apart from bytes and would lose their order.)
    #[inline]
    fn put(&mut self, text: &str) {
        self.parts += 1;
        self.state.write(text.as_bytes());
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.parts >= MOST_PARTS
    }

    fn literal(&mut self, value: &Element<'_>) {
        self.state.write(&[value.kind]);
        self.state.write(value.value);
    }

    fn begin(&mut self) -> Self::Mark {
        std::mem::replace(&mut self.state, STATE.build_hasher())
    }

    fn part(&mut self, mark: Self::Mark) -> u64 {
        std::mem::replace(&mut self.state, mark).finish()
    }

    fn sum(&mut self, parts: u64) {
        self.state.write(&parts.to_le_bytes());
    }

    fn end(&mut self, mark: Self::Mark, last: Option<u64>) -> u64 {
        let clause = self.state.finish();
        self.state = mark;
        if last != Some(clause) {
            self.state.write(&clause.to_le_bytes());
        }
        clause
    }
}

/// The text of a shape, cut at [`LONGEST`].
#[derive(Default)]
pub(super) struct Text {
    out: String,
    parts: u32,
}

impl Text {
    pub fn finish(mut self) -> String {
        if self.out.len() > LONGEST {
            let end = (0..=LONGEST)
                .rev()
                .find(|&at| self.out.is_char_boundary(at));
            self.out.truncate(end.unwrap_or(0));
            self.out.push('…');
        }
        // (Texts are kept, and a single part may have been megabytes.)
        self.out.shrink_to_fit();
        self.out
    }
}

impl Sink for Text {
    type Mark = usize;
    type Clause = (usize, usize);

    fn put(&mut self, text: &str) {
        self.parts += 1;
        self.out.push_str(text);
    }

    fn is_full(&self) -> bool {
        self.parts >= MOST_PARTS
    }

    fn literal(&mut self, value: &Element<'_>) {
        use std::fmt::Write;
        // Writing to a string can't fail.
        let _ = match (value.as_str(), value.as_bool(), value.as_f64()) {
            (Some(text), ..) => write!(self.out, "{text:?}"),
            (_, Some(flag), _) => write!(self.out, "{flag}"),
            (_, _, Some(number)) => write!(self.out, "{number}"),
            _ => write!(self.out, "?"),
        };
    }

    fn begin(&mut self) -> usize {
        self.out.len()
    }

    // Texts are for people, who read the conditions as they were written.
    fn part(&mut self, _: usize) -> u64 {
        0
    }

    fn sum(&mut self, _: u64) {}

    fn end(&mut self, start: usize, last: Option<(usize, usize)>) -> (usize, usize) {
        let Some((from, to)) = last else {
            return (start, self.out.len());
        };
        if self.out.get(from..to) == self.out.get(start..) {
            self.out.truncate(start);
            return (from, to);
        }
        self.out.insert_str(start, ", ");
        (start + 2, self.out.len())
    }
}

/// Parts of a shape: names, operators, brackets. A command that an application sends has some hundreds at most.
const MOST_PARTS: u32 = 8_192;

/// Longest text of a shape, bytes.
const LONGEST: usize = 4096;
