//! MD5 of several messages in lockstep (RFC 1321). An aggregate is bound by its MD5, and one message alone leaves most of a core's width
//! unused: eight at once take hardly longer than one. Only for aggregates; partition keys are hashed by a crate.

#![expect(clippy::inline_always, reason = "apart, the lanes are not kept in vector registers: a third of the speed")]

use fearless_simd::{Level, Simd, dispatch};

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

/// One 32-bit word of each message.
type Word<const N: usize> = [u32; N];

#[inline(always)]
fn zip<const N: usize>(a: Word<N>, b: Word<N>, f: impl Fn(u32, u32) -> u32) -> Word<N> {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn mix<const N: usize>(round: usize, b: Word<N>, c: Word<N>, d: Word<N>) -> Word<N> {
    std::array::from_fn(|i| match round {
        0 => d[i] ^ (b[i] & (c[i] ^ d[i])),
        1 => c[i] ^ (d[i] & (b[i] ^ c[i])),
        2 => b[i] ^ c[i] ^ d[i],
        _ => c[i] ^ (b[i] | !d[i]),
    })
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
fn compress<const N: usize>(state: &mut [Word<N>; 4], blocks: [&[u8; BLOCK]; N]) {
    let words: [Word<N>; 16] = std::array::from_fn(|w| {
        std::array::from_fn(|i| {
            let at = w * 4;
            let b = blocks[i];
            u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
        })
    });
    let [mut a, mut b, mut c, mut d] = *state;
    for round in 0..4 {
        for step in 0..16 {
            let sine = SINES[round * 16 + step];
            let shift = SHIFTS[round][step % 4];
            let sum = zip(zip(a, mix(round, b, c, d), u32::wrapping_add), words[word_of(round, step)], |x, y| {
                x.wrapping_add(y).wrapping_add(sine)
            });
            let next = zip(b, sum, |b, sum| b.wrapping_add(sum.rotate_left(shift)));
            (a, d, c, b) = (d, c, b, next);
        }
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = zip(*word, add, u32::wrapping_add);
    }
}

const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The digest of one message.
pub fn digest(message: &[u8]) -> [u8; 16] {
    finish(INITIAL, message, 0)
}

/// The digests of [`LANES`] messages, with the widest registers that this core has.
pub fn digest_lanes(messages: [&[u8]; LANES]) -> [[u8; 16]; LANES] {
    dispatch!(Level::new(), simd => simd.vectorize(#[inline(always)] || lockstep(messages)))
}

/// Lanes whose message has ended repeat what another one does, which costs nothing, until one message is left: that goes on alone.
#[inline(always)]
fn lockstep(messages: [&[u8]; LANES]) -> [[u8; 16]; LANES] {
    let blocks = messages.map(|message| message.as_chunks::<BLOCK>().0);
    let mut state = INITIAL.map(|word| [word; LANES]);
    let mut done = [0; LANES];
    loop {
        let open: [bool; LANES] = std::array::from_fn(|i| done[i] < blocks[i].len());
        let lengths = (0..LANES).filter(|i| open[*i]).map(|i| (blocks[i].len() - done[i], i));
        let Some((shared, shortest)) = lengths.min().filter(|_| open.iter().filter(|open| **open).count() > 1) else {
            break;
        };
        let before = state;
        let mut lanes = std::array::from_fn::<_, LANES, _>(|i| {
            let i = if open[i] { i } else { shortest };
            blocks[i][done[i]..done[i] + shared].iter()
        });
        for _ in 0..shared {
            compress(&mut state, lanes.each_mut().map(|lane| lane.next().expect("every lane has the shared blocks")));
        }
        for i in 0..LANES {
            if open[i] {
                done[i] += shared;
            } else {
                (0..state.len()).for_each(|word| state[word][i] = before[word][i]);
            }
        }
    }
    std::array::from_fn(|i| finish(state.map(|word| word[i]), messages[i], done[i]))
}

/// Hashes what follows the first `done` blocks, and the padding.
fn finish(state: [u32; 4], message: &[u8], done: usize) -> [u8; 16] {
    let mut state = state.map(|word| [word]);
    let (blocks, rest) = message[done * BLOCK..].as_chunks::<BLOCK>();
    for block in blocks {
        compress(&mut state, [block]);
    }
    let mut padded = [0; 2 * BLOCK];
    padded[..rest.len()].copy_from_slice(rest);
    padded[rest.len()] = 0x80;
    let len = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
    padded[len - 8..len].copy_from_slice(&(message.len() as u64 * 8).to_le_bytes());
    for block in padded[..len].as_chunks::<BLOCK>().0 {
        compress(&mut state, [block]);
    }
    let mut digest = [0; 16];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word[0].to_le_bytes();
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
