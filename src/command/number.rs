//! BSON numbers of every type, compared by value as the server compares them.
//!
//! The server's order across int, long, double and decimal is the mathematical one, so each
//! number is brought to one form per value: integers that fit into an `i64`, doubles that don't,
//! decimals that are neither. What can't be compared exactly here, such as decimals of 17 digits
//! and more, is [`Number::Odd`]: equal only to its own bytes.

use std::cmp::Ordering;

use crate::wire::doc::{Element, kind};

/// A number's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// NaN, double or decimal: equal to itself, and never more or less than anything.
    NaN,
    /// An integer of any type; both zeros are 0.
    Int(i64),
    /// Neither NaN nor an integer that fits into an `i64`; infinities, also a decimal's, are here.
    Double(f64),
    /// A decimal that no double equals.
    Decimal(Decimal),
    /// A decimal that isn't exact here.
    Odd,
}

/// `digits / 10^scale`, with digits below 2^53 that don't end in 0 and a scale of 1 to 22.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Decimal {
    digits: i64,
    scale: u32,
    /// The double next to it,
    near: f64,
    /// and where that lies: less or greater than the decimal.
    side: Ordering,
}

impl Number {
    /// The value of a number; `None` for other types.
    #[inline]
    pub(super) fn of(element: &Element<'_>) -> Option<Number> {
        match element.kind {
            kind::INT32 | kind::INT64 => element.as_i64().map(Number::Int),
            kind::DOUBLE => element.as_f64().map(Number::of_double),
            kind::DECIMAL128 => Some(of_decimal(u128::from_le_bytes(
                *element.value.first_chunk()?,
            ))),
            _ => None,
        }
    }

    fn of_double(value: f64) -> Number {
        if value.is_nan() {
            Number::NaN
        } else if value.fract() == 0.0 && (-TWO_63..TWO_63).contains(&value) {
            #[allow(
                clippy::cast_possible_truncation,
                reason = "it has no fraction and fits"
            )]
            Number::Int(value as i64)
        } else {
            Number::Double(value)
        }
    }

    /// The order of two numbers; `None` if one is NaN or can't be compared exactly.
    #[inline]
    pub(super) fn order(self, other: Number) -> Option<Ordering> {
        use Number::{Decimal, Double, Int, NaN, Odd};
        match (self, other) {
            (Int(a), Int(b)) => Some(a.cmp(&b)),
            (Double(a), Double(b)) => a.partial_cmp(&b),
            (Int(a), Double(b)) => Some(int_to_double(a, b)),
            (Double(a), Int(b)) => Some(int_to_double(b, a).reverse()),
            (Decimal(a), Int(b)) => Some(a.to_int(b)),
            (Int(a), Decimal(b)) => Some(b.to_int(a).reverse()),
            (Decimal(a), Double(b)) => Some(a.to_double(b)),
            (Double(a), Decimal(b)) => Some(b.to_double(a).reverse()),
            (Decimal(a), Decimal(b)) => a.to_decimal(b),
            (NaN | Odd, _) | (_, NaN | Odd) => None,
        }
    }
}

impl Decimal {
    fn to_double(self, other: f64) -> Ordering {
        match self.near.total_cmp(&other) {
            Ordering::Equal => self.side.reverse(),
            differ => differ,
        }
    }

    /// All such decimals lie within 2^53, where doubles hold every integer.
    fn to_int(self, other: i64) -> Ordering {
        if other.unsigned_abs() <= EXACT {
            #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
            self.to_double(other as f64)
        } else {
            0.cmp(&other)
        }
    }

    fn to_decimal(self, other: Decimal) -> Option<Ordering> {
        let (a, b) = (i128::from(self.digits), i128::from(other.digits));
        let scale = self.scale.max(other.scale);
        let a = a.checked_mul(10_i128.checked_pow(scale - self.scale)?)?;
        let b = b.checked_mul(10_i128.checked_pow(scale - other.scale)?)?;
        Some(a.cmp(&b))
    }
}

fn int_to_double(a: i64, b: f64) -> Ordering {
    if b >= TWO_63 {
        Ordering::Less
    } else if b < -TWO_63 {
        Ordering::Greater
    } else {
        // It has a fraction, so it lies between its floor and the next integer.
        #[allow(
            clippy::cast_possible_truncation,
            reason = "it was just checked to fit"
        )]
        let floor = b.floor() as i64;
        if a <= floor {
            Ordering::Less
        } else {
            Ordering::Greater
        }
    }
}

/// IEEE 754-2008 decimal128 in its binary encoding.
fn of_decimal(bits: u128) -> Number {
    let negative = bits >> 127 != 0;
    let sign = if negative { -1 } else { 1 };
    match (bits >> 122) & 0x1f {
        0x1f => return Number::NaN,
        0x1e => {
            return Number::Double(if negative {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        0x18.. => return Number::Odd, // an encoding that only values out of range have
        _ => {}
    }
    let mut digits = bits & ((1 << 113) - 1);
    if digits == 0 {
        return Number::Int(0);
    }
    if digits >= 10_u128.pow(34) {
        return Number::Odd; // not canonical: zero to some
    }
    #[allow(clippy::cast_possible_truncation, reason = "14 bits")]
    let mut exponent = ((bits >> 113) & 0x3fff) as i32 - 6176;
    while digits.is_multiple_of(10) {
        digits /= 10;
        exponent += 1;
    }
    let Ok(digits) = i64::try_from(digits) else {
        return Number::Odd;
    };
    match u32::try_from(exponent) {
        Ok(up) => {
            let scaled = 10_i64.checked_pow(up).and_then(|p| digits.checked_mul(p));
            scaled.map_or(Number::Odd, |v| Number::Int(sign * v))
        }
        Err(_) if digits.unsigned_abs() > EXACT || exponent < -22 => Number::Odd,
        Err(_) => with_fraction(sign * digits, exponent.unsigned_abs()),
    }
}

/// `digits / 10^scale`, both exact as doubles: so the quotient is the nearest double, and what
/// it is off by is exact to the sign.
fn with_fraction(digits: i64, scale: u32) -> Number {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    let exact = digits as f64;
    #[allow(clippy::cast_precision_loss, reason = "exact up to 10^22")]
    let power = 10_u128.pow(scale) as f64;
    let near = exact / power;
    match near.mul_add(power, -exact).partial_cmp(&0.0) {
        Some(Ordering::Equal) => Number::of_double(near),
        Some(side) => Number::Decimal(Decimal {
            digits,
            scale,
            near,
            side,
        }),
        None => Number::Odd,
    }
}

const TWO_63: f64 = 9_223_372_036_854_775_808.0;
/// 2^53: where doubles stop telling integers apart.
pub(super) const EXACT: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Number {
        let value: bson::Decimal128 = text.parse().unwrap();
        of_decimal(u128::from_le_bytes(value.bytes()))
    }

    #[test]
    fn equal_values_of_all_types_have_one_form() {
        for text in [
            "5",
            "5.0",
            "0.5E1",
            "50E-1",
            "5E0",
            "5.000000000000000000000000",
        ] {
            assert_eq!(decimal(text), Number::Int(5), "{text}");
        }
        assert_eq!(decimal("-0"), Number::Int(0));
        assert_eq!(decimal("0E+3"), Number::Int(0));
        assert_eq!(decimal("-7E2"), Number::Int(-700));
        assert_eq!(decimal("1.5"), Number::of_double(1.5));
        assert_eq!(decimal("-0.25"), Number::of_double(-0.25));
        assert_eq!(decimal("NaN"), Number::NaN);
        assert_eq!(decimal("-Infinity"), Number::of_double(f64::NEG_INFINITY));
        assert_eq!(Number::of_double(-0.0), Number::Int(0));
        assert_eq!(decimal("1E19"), Number::Odd);
        assert_eq!(decimal("1.2345678901234567890"), Number::Odd);
    }

    #[test]
    fn the_order_is_the_mathematical_one() {
        // 0.1 as a double is a little more than a tenth, 0.3 a little less than three.
        let ascending = [
            Number::of_double(f64::NEG_INFINITY),
            Number::of_double(-1e300),
            Number::Int(i64::MIN),
            Number::Int(-1),
            decimal("-0.1"),
            Number::Int(0),
            decimal("1E-22"),
            Number::of_double(0.09),
            decimal("0.1"),
            Number::of_double(0.1),
            decimal("0.11"),
            Number::of_double(0.3),
            decimal("0.3"),
            Number::of_double(0.5),
            Number::Int(1),
            Number::of_double(1.5),
            Number::Int(1 << 53),
            Number::Int((1 << 53) + 1),
            Number::Int(i64::MAX),
            Number::of_double(TWO_63),
            Number::of_double(f64::INFINITY),
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(a.order(*b), Some(i.cmp(&j)), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_number_has_no_order() {
        for n in [
            Number::NaN,
            Number::Int(1),
            Number::Odd,
            Number::Double(0.5),
        ] {
            assert_eq!(Number::NaN.order(n), None);
            assert_eq!(n.order(Number::Odd), None);
        }
    }
}
