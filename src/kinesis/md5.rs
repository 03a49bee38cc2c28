//! MD5 of several messages in lockstep (RFC 1321). An aggregate is bound by its MD5, and one message alone leaves most of a core's width
//! unused: eight at once take hardly longer than one. Only for aggregates; partition keys are hashed by a crate.

#![expect(clippy::inline_always, reason = "apart, the lanes are not kept in vector registers: a third of the speed")]

use std::ops::{BitAnd, BitOr, BitXor, Not};

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, u32x8};

/// Messages that are hashed side by side: what a 256-bit register holds. On a core that has only those of 128 bits, two of them are under way
/// at once, and no step waits for the one before it.
pub const LANES: usize = 8;

const BLOCK: usize = 64;

/// Left rotations of the four rounds.
const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// `floor(2^32 * abs(sin(i + 1)))`, as the RFC defines its table; a test computes them anew.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// One 32-bit word of each message that is hashed.
trait Word: Copy + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self> {
    /// Their sum, without what does not fit.
    fn plus(self, other: Self) -> Self;
    /// The sum with the same number for all.
    fn plus_all(self, number: u32) -> Self;
    /// Turned to the left.
    fn turned(self, bits: u32) -> Self;
}

impl Word for u32 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn plus_all(self, number: u32) -> Self {
        self.wrapping_add(number)
    }

    #[inline(always)]
    fn turned(self, bits: u32) -> Self {
        self.rotate_left(bits)
    }
}

impl<S: Simd> Word for u32x8<S> {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn plus_all(self, number: u32) -> Self {
        self + number
    }

    #[inline(always)]
    fn turned(self, bits: u32) -> Self {
        (self << bits) | (self >> (u32::BITS - bits))
    }
}

#[inline(always)]
fn word_of(round: usize, step: usize) -> usize {
    match round {
        0 => step,
        1 => (5 * step + 1) % 16,
        2 => (3 * step + 5) % 16,
        _ => (7 * step) % 16,
    }
}

#[inline(always)]
fn step<const ROUND: usize, W: Word>([a, b, c, d]: [W; 4], words: &[W; 16], at: usize) -> W {
    // What waits for `b`, which the step before has only just made, comes last.
    let sum = words[word_of(ROUND, at)].plus_all(SINES[ROUND * 16 + at]).plus(a);
    let sum = match ROUND {
        0 => sum.plus(d ^ (b & (c ^ d))),
        1 => sum.plus(c & !d).plus(b & d),
        2 => sum.plus(b ^ (c ^ d)),
        _ => sum.plus(c ^ (b | !d)),
    };
    b.plus(sum.turned(SHIFTS[ROUND][at % 4]))
}

/// Four of a round's steps. Written out, so that all places are known when this is compiled and nothing is looked up.
#[inline(always)]
fn steps<const ROUND: usize, W: Word>([mut a, mut b, mut c, mut d]: [W; 4], words: &[W; 16], at: usize) -> [W; 4] {
    a = step::<ROUND, W>([a, b, c, d], words, at);
    d = step::<ROUND, W>([d, a, b, c], words, at + 1);
    c = step::<ROUND, W>([c, d, a, b], words, at + 2);
    b = step::<ROUND, W>([b, c, d, a], words, at + 3);
    [a, b, c, d]
}

#[inline(always)]
fn round<const ROUND: usize, W: Word>(state: [W; 4], words: &[W; 16]) -> [W; 4] {
    let state = steps::<ROUND, W>(state, words, 0);
    let state = steps::<ROUND, W>(state, words, 4);
    let state = steps::<ROUND, W>(state, words, 8);
    steps::<ROUND, W>(state, words, 12)
}

#[inline(always)]
fn compress<W: Word>(state: [W; 4], words: &[W; 16]) -> [W; 4] {
    let [a, b, c, d] = state;
    let new = round::<0, W>(state, words);
    let new = round::<1, W>(new, words);
    let new = round::<2, W>(new, words);
    let new = round::<3, W>(new, words);
    [a.plus(new[0]), b.plus(new[1]), c.plus(new[2]), d.plus(new[3])]
}

/// A word of a block.
#[inline(always)]
fn word(block: &[u8; BLOCK], at: usize) -> u32 {
    u32::from_le_bytes(block.as_chunks::<4>().0[at])
}

/// A word of each block, side by side. Written out like the steps, here and below.
#[inline(always)]
#[rustfmt::skip]
fn lane_word<S: Simd>(simd: S, of: [&[u8; BLOCK]; LANES], at: usize) -> u32x8<S> {
    [
        word(of[0], at), word(of[1], at), word(of[2], at), word(of[3], at),
        word(of[4], at), word(of[5], at), word(of[6], at), word(of[7], at),
    ].simd_into(simd)
}

/// All sixteen, from what makes one of them.
#[rustfmt::skip]
macro_rules! words {
    ($word:expr) => {
        [
            $word(0), $word(1), $word(2), $word(3), $word(4), $word(5), $word(6), $word(7),
            $word(8), $word(9), $word(10), $word(11), $word(12), $word(13), $word(14), $word(15),
        ]
    };
}

/// The words of a block.
#[inline(always)]
fn words(block: &[u8; BLOCK]) -> [u32; 16] {
    words!(|at| word(block, at))
}

/// The words of blocks, side by side.
#[inline(always)]
fn lane_words<S: Simd>(simd: S, blocks: [&[u8; BLOCK]; LANES]) -> [u32x8<S>; 16] {
    words!(|at| lane_word(simd, blocks, at))
}

const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The digest of one message.
pub fn digest(message: &[u8]) -> [u8; 16] {
    finish(INITIAL, message, 0)
}

/// The digests of [`LANES`] messages, with the widest registers that this core has.
pub fn digest_lanes(messages: [&[u8]; LANES]) -> [[u8; 16]; LANES] {
    dispatch!(Level::new(), simd => lockstep(simd, messages))
}

/// Lanes whose message has ended repeat what another one does, which costs nothing, until one message is left: that goes on alone.
#[inline(always)]
fn lockstep<S: Simd>(simd: S, messages: [&[u8]; LANES]) -> [[u8; 16]; LANES] {
    let blocks = messages.map(|message| message.as_chunks::<BLOCK>().0);
    let mut states = [INITIAL; LANES];
    let mut done = [0; LANES];
    loop {
        let open: [bool; LANES] = std::array::from_fn(|i| done[i] < blocks[i].len());
        let lengths = (0..LANES).filter(|i| open[*i]).map(|i| (blocks[i].len() - done[i], i));
        let Some((shared, shortest)) = lengths.min().filter(|_| open.iter().filter(|open| **open).count() > 1) else {
            break;
        };
        let lanes: [&[[u8; BLOCK]]; LANES] = std::array::from_fn(|i| {
            let i = if open[i] { i } else { shortest };
            &blocks[i][done[i]..done[i] + shared]
        });
        let after = simd.vectorize(
            #[inline(always)]
            || together(simd, &states, lanes, shared),
        );
        for i in (0..LANES).filter(|i| open[*i]) {
            done[i] += shared;
            states[i] = after[i];
        }
    }
    std::array::from_fn(|i| finish(states[i], messages[i], done[i]))
}

/// Hashes so many blocks of each lane.
#[inline(always)]
fn together<S: Simd>(
    simd: S,
    states: &[[u32; 4]; LANES],
    lanes: [&[[u8; BLOCK]]; LANES],
    count: usize,
) -> [[u32; 4]; LANES] {
    let mut state = [u32x8::splat(simd, 0); 4];
    for (word, wide) in state.iter_mut().enumerate() {
        for (lane, state) in states.iter().enumerate() {
            wide[lane] = state[word];
        }
    }
    for at in 0..count {
        let mut blocks = [&lanes[0][at]; LANES];
        for (block, lane) in blocks.iter_mut().zip(lanes) {
            *block = &lane[at];
        }
        state = compress(state, &lane_words(simd, blocks));
    }
    let mut after = [[0; 4]; LANES];
    for (lane, after) in after.iter_mut().enumerate() {
        for (word, wide) in state.iter().enumerate() {
            after[word] = wide[lane];
        }
    }
    after
}

/// Hashes what follows the first `done` blocks, and the padding.
fn finish(mut state: [u32; 4], message: &[u8], done: usize) -> [u8; 16] {
    let (blocks, rest) = message[done * BLOCK..].as_chunks::<BLOCK>();
    for block in blocks {
        state = compress(state, &words(block));
    }
    let mut padded = [0; 2 * BLOCK];
    padded[..rest.len()].copy_from_slice(rest);
    padded[rest.len()] = 0x80;
    let len = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
    padded[len - 8..len].copy_from_slice(&(message.len() as u64 * 8).to_le_bytes());
    for block in padded[..len].as_chunks::<BLOCK>().0 {
        state = compress(state, &words(block));
    }
    let mut digest = [0; 16];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_le_bytes();
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    fn crates(message: &[u8]) -> [u8; 16] {
        Md5::digest(message).into()
    }

    #[test]
    fn the_table_is_that_of_the_rfc() {
        for (i, sine) in SINES.iter().enumerate() {
            let exact = f64::from(u32::try_from(i + 1).unwrap()).sin().abs() * 4_294_967_296.0;
            assert!((f64::from(*sine) - exact.floor()).abs() < 0.5);
        }
    }

    #[test]
    fn borders_of_the_padding() {
        let text = [b'x'; 200];
        for len in 0..200 {
            assert_eq!(digest(&text[..len]), crates(&text[..len]), "{len}");
        }
    }

    proptest! {
        /// For all messages, of whatever lengths, each digest is what the message has alone.
        #[test]
        fn lanes_do_not_mix(messages in prop::array::uniform8(prop::collection::vec(any::<u8>(), 0..1000))) {
            let digests = digest_lanes(messages.each_ref().map(Vec::as_slice));
            for (message, digest) in messages.iter().zip(digests) {
                prop_assert_eq!(digest, crates(message));
            }
        }
    }
}
