//! Compression of what is sent: a whole record as one gzip member or zstd frame, or one event as a zstd frame. Pure; it knows no formats and no
//! limits, but says how long what it makes can get.

use std::fmt;
use std::io::Read as _;

use flate2::{Compress, FlushCompress, Status};

use crate::config::Compression;

/// The levels that their authors take for the right measure of size and time; a higher one takes a multiple of the time for little more.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// Deflate's window: the largest that there is, 32 KiB.
const GZIP_WINDOW_BITS: u8 = 15;
/// What a gzip member has around its data, and an empty one in it, generously.
const GZIP_FRAME_BYTES: usize = 64;
/// Data that does not shrink is stored in blocks with a head of 5 bytes for each 16 KiB or less; one in a thousand covers twice that.
const GZIP_GROWTH_SHIFT: u32 = 10;

/// Compresses one thing after the other, each by itself. What it needs for that, up to some hundreds of kilobytes, is kept.
pub struct Compressor(Kind);

enum Kind {
    None,
    Gzip(Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Compressor").field(&self.kind()).finish()
    }
}

impl Compressor {
    /// One of this kind.
    pub fn new(kind: Compression) -> Self {
        Self(match kind {
            Compression::None => Kind::None,
            Compression::Gzip => Kind::Gzip(Compress::new_gzip(flate2::Compression::new(GZIP_LEVEL), GZIP_WINDOW_BITS)),
            Compression::Zstd => {
                let context = zstd::bulk::Compressor::new(ZSTD_LEVEL);
                Kind::Zstd(context.expect("a level that there is needs nothing but memory"))
            }
        })
    }

    /// Of which kind it is.
    pub fn kind(&self) -> Compression {
        match self.0 {
            Kind::None => Compression::None,
            Kind::Gzip(_) => Compression::Gzip,
            Kind::Zstd(_) => Compression::Zstd,
        }
    }

    /// Appends the compressed data: at most [`bound`] bytes, the same for the same data.
    pub fn compress(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let room = bound(self.kind(), data.len());
        match &mut self.0 {
            Kind::None => out.extend_from_slice(data),
            Kind::Gzip(context) => {
                out.reserve(room);
                context.reset();
                let status = context.compress_vec(data, out, FlushCompress::Finish);
                assert!(matches!(status, Ok(Status::StreamEnd)), "there is room for all of it: {status:?}");
            }
            Kind::Zstd(context) => {
                let start = out.len();
                out.resize(start + room, 0);
                let length = context.compress_to_buffer(data, &mut out[start..]);
                out.truncate(start + length.expect("there is room for all of it"));
            }
        }
    }
}

/// What was compressed, for people to read: of what was made here. None of anything else.
pub fn decompress(kind: Compression, data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match kind {
        Compression::None => out.extend_from_slice(data),
        Compression::Gzip => {
            flate2::read::GzDecoder::new(data).read_to_end(&mut out).ok()?;
        }
        Compression::Zstd => zstd::stream::copy_decode(data, &mut out).ok()?,
    }
    Some(out)
}

/// The most bytes that so many bytes can become.
pub fn bound(kind: Compression, length: usize) -> usize {
    match kind {
        Compression::None => length,
        Compression::Gzip => length + (length >> GZIP_GROWTH_SHIFT) + GZIP_FRAME_BYTES,
        Compression::Zstd => zstd::zstd_safe::compress_bound(length),
    }
}

/// The most bytes that never become more than so many.
pub fn largest_input(kind: Compression, output: usize) -> usize {
    // The bound grows with the length and is no less than it.
    let (mut fits, mut too_much) = (0, output + 1);
    while too_much - fits > 1 {
        let middle = fits.midpoint(too_much);
        if bound(kind, middle) <= output {
            fits = middle;
        } else {
            too_much = middle;
        }
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

    /// The checksum of gzip, bit by bit.
    fn crc32(data: &[u8]) -> u32 {
        !data.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }

    /// What decoders that are not the encoders' own make of it.
    fn decoded(kind: Compression, bytes: &[u8]) -> Vec<u8> {
        match kind {
            Compression::None => bytes.to_vec(),
            Compression::Gzip => {
                assert_eq!(bytes[..4], [0x1f, 0x8b, 8, 0], "deflate, and no optional fields");
                let (body, tail) = bytes[10..].split_at(bytes.len() - 18);
                let data = miniz_oxide::inflate::decompress_to_vec(body).unwrap();
                assert_eq!(tail[..4], crc32(&data).to_le_bytes());
                assert_eq!(tail[4..], u32::try_from(data.len()).unwrap().to_le_bytes());
                data
            }
            Compression::Zstd => {
                let mut data = Vec::new();
                let mut decoder = ruzstd::decoding::StreamingDecoder::new(bytes).unwrap();
                std::io::Read::read_to_end(&mut decoder, &mut data).unwrap();
                data
            }
        }
    }

    fn lines(count: usize) -> Vec<u8> {
        let line =
            |n: usize| format!("{{\"level\":\"info\",\"user_id\":\"u{}\",\"took\":{}}}\n", n % 97, n * 7919 % 1000);
        (0..count).flat_map(|n| line(n).into_bytes()).collect()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(7);
        (0..length).map(|_| rng.u8(..)).collect()
    }

    #[test]
    fn lines_shrink_and_each_result_stands_by_itself() {
        for kind in [Compression::Gzip, Compression::Zstd] {
            let mut compressor = Compressor::new(kind);
            let (data, mut out) = (lines(2000), b"before".to_vec());
            compressor.compress(&data, &mut out);
            let first = out.split_off(6);
            assert_eq!(out, b"before");
            assert!(first.len() * 5 < data.len(), "{kind:?}: {} of {}", first.len(), data.len());
            assert_eq!(decoded(kind, &first), data);
            // Nothing of one is needed for the next, which is the same again.
            let mut again = Vec::new();
            compressor.compress(&data, &mut again);
            assert_eq!(again, first);
        }
    }

    #[test]
    fn what_does_not_shrink_stays_within_the_bound() {
        for kind in ALL {
            let mut compressor = Compressor::new(kind);
            for length in [0, 1, 100, 16_383, 16_384, 65_536, 1 << 20, 3_000_001] {
                let (data, mut out) = (noise(length), Vec::new());
                compressor.compress(&data, &mut out);
                assert!(out.len() <= bound(kind, length), "{kind:?}: {length} became {}", out.len());
                assert_eq!(decoded(kind, &out), data);
                assert_eq!(decompress(kind, &out).as_deref(), Some(&data[..]));
            }
        }
    }

    #[test]
    fn the_largest_input_is_the_last_that_fits() {
        for kind in ALL {
            for output in [64, 65, 1000, 1024, 51_200, 1 << 20, 10 << 20] {
                let input = largest_input(kind, output);
                assert!(bound(kind, input) <= output || input == 0, "{kind:?} {output}");
                assert!(bound(kind, input + 1) > output, "{kind:?} {output}");
                assert!(output - input <= 64 + output / 200, "{kind:?} {output}: {input}");
            }
            assert_eq!(largest_input(kind, 0), 0);
        }
    }

    proptest! {
        #[test]
        fn all_bytes_come_back(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8)) {
            for kind in ALL {
                let mut compressor = Compressor::new(kind);
                for data in &parts {
                    let mut out = Vec::new();
                    compressor.compress(data, &mut out);
                    prop_assert!(out.len() <= bound(kind, data.len()));
                    prop_assert_eq!(&decoded(kind, &out), data);
                }
            }
        }
    }
}
