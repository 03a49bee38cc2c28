//! Dates of the Gregorian calendar and days since 1970, each to the other. No zones: those are in `zone.rs`.

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;
/// The first second of the year 0 ...
pub(super) const FIRST: i64 = -62_167_219_200;
/// ... and the last of the year 9999: RFC 3339 writes no others.
pub(super) const LAST: i64 = 253_402_300_799;

const SECOND: i64 = 1_000_000_000;
/// The first nanosecond that can be written ...
const FIRST_NANO: i128 = FIRST as i128 * SECOND as i128;
/// ... and the last.
const LAST_NANO: i128 = (LAST as i128 + 1) * SECOND as i128 - 1;

/// Nanoseconds since 1970, as seconds and nanoseconds beyond; what the years of RFC 3339 do not reach becomes the nearest that they do.
pub(super) fn split(nanos: i128) -> (i64, u32) {
    // Division of 128 bits is many times as slow; 64 go from 1677 to 2262.
    let (second, rest) = if let Ok(nanos) = i64::try_from(nanos) {
        (nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND))
    } else {
        let nanos = nanos.clamp(FIRST_NANO, LAST_NANO);
        let small = |n: i128| i64::try_from(n).unwrap_or_default();
        (small(nanos.div_euclid(i128::from(SECOND))), small(nanos.rem_euclid(i128::from(SECOND))))
    };
    (second, u32::try_from(rest).unwrap_or_default())
}

/// A second and the nanoseconds beyond, as nanoseconds, if the years of RFC 3339 reach it.
pub(super) fn join(second: i64, nanos: u32) -> Option<i128> {
    (FIRST..=LAST).contains(&second).then(|| i128::from(second) * i128::from(SECOND) + i128::from(nanos))
}

/// Nanoseconds that the years of RFC 3339 reach.
pub(super) fn is_within(nanos: i128) -> bool {
    (FIRST_NANO..=LAST_NANO).contains(&nanos)
}

/// The days from 1970 to a date. The date has to be one of the calendar.
pub(super) fn days(year: i32, month: u32, day: u32) -> i64 {
    // Years that begin in March have their odd day at their end, and 400 of them are always as long.
    let year = i64::from(year) - i64::from(month <= 2);
    let from_march = i64::from((month + 9) % 12);
    let of_year = (153 * from_march + 2) / 5 + i64::from(day) - 1;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The year, month and day that are so many days from 1970, within the years of RFC 3339.
pub(super) fn date(days: i64) -> (i32, u32, u32) {
    // 400 years are added, so that nothing is below zero and 32 bits are enough.
    let shifted = u32::try_from(days + 719_468 + 146_097).unwrap_or_default();
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let of_400 = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let from_march = of_era - (365 * of_400 + of_400 / 4 - of_400 / 100);
    let month_from_march = (5 * from_march + 2) / 153;
    let day = from_march - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + of_400 + u32::from(month <= 2);
    (i32::try_from(year).unwrap_or(i32::MAX) - 400, month, day)
}

/// Whether a year has a 29th of February.
pub(super) fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// How many days a month has; 0 if there is no such month.
pub(super) fn month_len(year: i32, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

/// The year of a second since 1970.
pub(super) fn year_of(second: i64) -> i32 {
    date(second.div_euclid(DAY)).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_that_of_another_implementation() {
        for at in (days(0, 1, 1)..=days(9999, 12, 31)).step_by(7) {
            let (year, month, day) = date(at);
            assert_eq!(days(year, month, day), at);
            let other = jiff::Timestamp::from_second(at * DAY);
            if let Ok(other) = other {
                let other = jiff::tz::Offset::UTC.to_datetime(other).date();
                let small = |n: u32| i8::try_from(n).expect("months and days are small");
                assert_eq!(
                    (other.year(), other.month(), other.day()),
                    (i16::try_from(year).unwrap(), small(month), small(day))
                );
            }
        }
    }

    #[test]
    fn the_limits_are_those_of_four_digits() {
        assert_eq!(days(0, 1, 1) * DAY, FIRST);
        assert_eq!(days(10_000, 1, 1) * DAY - 1, LAST);
        assert_eq!((month_len(2000, 2), month_len(1900, 2), month_len(2024, 2), month_len(2023, 13)), (29, 28, 29, 0));
    }
}
