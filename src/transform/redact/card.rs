//! Numbers of payment cards: as many digits as a card has, of an issuer's range, with a check digit that is right.

use std::ops::Range;

const MIN_DIGITS: usize = 13;
const MAX_DIGITS: usize = 19;

/// How digits are grouped on cards. Whatever comes after four fours is the rest of a long number.
const GROUPS: [&[usize]; 11] = [
    &[4, 4, 4, 4, 3],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4, 1],
    &[4, 4, 4, 4],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 4, 4, 3],
    &[4, 4, 5],
    &[4, 3, 3, 3],
    &[6, 13],
    &[6, 10],
];

/// Says where card numbers are.
pub(super) fn find(text: &str, found: &mut impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    // A card's first group has four digits at least, so that every fourth byte shows all of them.
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 4;
            continue;
        }
        let mut start = at;
        while start > 0 && bytes[start - 1].is_ascii_digit() {
            start -= 1;
        }
        let len = digits(bytes, start);
        let card = if len >= 4 { card(bytes, start, len) } else { None };
        at = start + len;
        if let Some(end) = card {
            found(start..end);
            at = at.max(end);
        }
        at += 1;
    }
}

fn digits(bytes: &[u8], start: usize) -> usize {
    bytes.get(start..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count()
}

/// Where the card ends that begins with the group of digits here, if it is one.
fn card(bytes: &[u8], start: usize, len: usize) -> Option<usize> {
    let before = start.checked_sub(1).map(|at| bytes[at]);
    if before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    if (MIN_DIGITS..=MAX_DIGITS).contains(&len) {
        // Digits on the other side of a point are a number's, and no card's.
        let is_fraction = before == Some(b'.') && start >= 2 && bytes[start - 2].is_ascii_digit();
        // So are those after a minus, unless it stands between a word and the card.
        let is_negative =
            before == Some(b'-') && !start.checked_sub(2).is_some_and(|at| bytes[at].is_ascii_alphanumeric());
        let end = start + len;
        return (!is_fraction && !is_negative && !goes_on(bytes, end) && is_card(bytes, start..end)).then_some(end);
    }
    let separator = *bytes.get(start + len).filter(|b| matches!(b, b' ' | b'-' | b'.' | b'+'))?;
    GROUPS.iter().filter(|groups| groups[0] == len).find_map(|groups| {
        let mut at = start;
        for (index, group) in groups.iter().enumerate() {
            if index > 0 {
                (bytes.get(at) == Some(&separator)).then_some(())?;
                at += 1;
            }
            (digits(bytes, at) == *group).then_some(())?;
            at += group;
        }
        let is_end = !bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        (is_end && is_card(bytes, start..at)).then_some(at)
    })
}

/// Whether what comes after digits makes them a part of something else.
fn goes_on(bytes: &[u8], end: usize) -> bool {
    match bytes.get(end) {
        Some(b'.') => bytes.get(end + 1).is_some_and(u8::is_ascii_digit),
        Some(b) => b.is_ascii_alphanumeric() || *b == b'_',
        None => false,
    }
}

fn is_card(bytes: &[u8], range: Range<usize>) -> bool {
    let mut number = [0_u8; MAX_DIGITS];
    let mut len = 0;
    for digit in bytes[range].iter().filter(|b| b.is_ascii_digit()) {
        let Some(slot) = number.get_mut(len) else { return false };
        *slot = digit - b'0';
        len += 1;
    }
    let number = &number[..len];
    is_issued(number) && has_right_check_digit(number)
}

/// The ranges of issuers, and how long their numbers are.
fn is_issued(number: &[u8]) -> bool {
    let first = |digits: usize| number.iter().take(digits).fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit));
    let (one, two, three, four, six) = (first(1), first(2), first(3), first(4), first(6));
    match number.len() {
        13 => one == 4 || is_maestro(four),
        14 => is_diners(two, three, four) || is_maestro(four),
        15 => matches!(two, 34 | 37) || is_maestro(four),
        16 => {
            one == 4
                || matches!(two, 51..=55 | 62 | 65 | 81 | 82)
                || matches!(four, 2221..=2720 | 2200..=2204 | 6011 | 3528..=3589)
                || matches!(three, 644..=649 | 508)
                || matches!(six, 622_126..=622_925)
                || is_diners(two, three, four)
                || is_maestro(four)
        }
        17 | 18 => matches!(two, 62 | 65) || matches!(four, 2200..=2204 | 3528..=3589 | 6011) || is_maestro(four),
        19 => {
            one == 4
                || matches!(two, 62 | 65)
                || matches!(four, 2200..=2204 | 3528..=3589 | 6011)
                || matches!(three, 644..=649)
                || is_diners(two, three, four)
                || is_maestro(four)
        }
        _ => false,
    }
}

fn is_diners(two: u32, three: u32, four: u32) -> bool {
    matches!(two, 36 | 38 | 39) || matches!(three, 300..=305) || four == 3095
}

fn is_maestro(four: u32) -> bool {
    matches!(four, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
}

fn has_right_check_digit(number: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = (0_u8..)
        .zip(number.iter().rev())
        .map(|(place, digit)| u32::from(if place % 2 == 1 { doubled(*digit) } else { *digit }))
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut all = Vec::new();
        find(text, &mut |range| all.push(text.get(range).unwrap()));
        all
    }

    /// The numbers are those that issuers publish for tests.
    #[test]
    fn cards_are_found_however_they_are_grouped() {
        for card in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "3782 822463 10005",
            "5555+5555+5555+4444",
            "30569309025904",
            "3056 930902 5904",
            "6011111111111117",
            "3530111333300000",
            "6200000000000005",
            "4222222222222",
        ] {
            for text in
                [card.to_owned(), format!("card={card}, ok"), format!("1 22 333 {card}."), format!("12:30:45 {card} 7")]
            {
                assert_eq!(found(&text), [card], "{text}");
            }
        }
        assert_eq!(found("4111111111111111,5555555555554444").len(), 2);
    }

    #[test]
    fn other_numbers_are_not() {
        for text in [
            "4111111111111112",
            "1764356777123",
            "1764356777123456789",
            "0.4111111111111111",
            "blk_-4111111111111111",
            "x=-4111111111111111",
            "4111111111111111.25",
            "a4111111111111111",
            "4111111111111111f",
            "41111111111111114111111111111111",
            "4111 1111 1111",
            "2026-11-28 19:26:15",
            "",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
