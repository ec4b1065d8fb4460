//! Numbers as people read them; what isn't known is a dash.

use serde_json::Value;

const NONE: &str = "–";

/// A formatter of one kind of number.
pub(super) type Words = fn(Option<f64>) -> String;

/// 0.42, 4.2, 42, 4200, 42.1k, 4.21M.
pub(super) fn count(value: Option<f64>) -> String {
    let Some(v) = value else { return NONE.into() };
    match v.abs() {
        n if n >= 1e9 => format!("{:.2}G", v / 1e9),
        n if n >= 1e6 => format!("{:.2}M", v / 1e6),
        n if n >= 1e4 => format!("{:.1}k", v / 1e3),
        n if n >= 100.0 || v.fract() == 0.0 => format!("{v:.0}"),
        n if n >= 10.0 => format!("{v:.1}"),
        _ => format!("{v:.2}"),
    }
}

pub(super) fn rate(value: Option<f64>) -> String {
    match value {
        Some(_) => format!("{}/s", count(value)),
        None => NONE.into(),
    }
}

/// A time, from microseconds.
pub(super) fn micros(value: Option<f64>) -> String {
    match value {
        None => NONE.into(),
        Some(v) if v >= 1e6 => format!("{:.2} s", v / 1e6),
        Some(v) if v >= 1e3 => format!("{:.1} ms", v / 1e3),
        Some(v) if v >= 10.0 || v == 0.0 => format!("{v:.0} µs"),
        Some(v) => format!("{v:.1} µs"),
    }
}

/// A time, from milliseconds.
pub(super) fn millis(value: Option<f64>) -> String {
    micros(value.map(|ms| ms * 1e3))
}

pub(super) fn bytes(value: Option<f64>) -> String {
    let Some(mut v) = value else {
        return NONE.into();
    };
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if v.abs() < 1000.0 {
            let digits = usize::from(unit != "B" && v.abs() < 100.0);
            return format!("{v:.digits$} {unit}");
        }
        v /= 1024.0;
    }
    format!("{v:.1} TiB")
}

pub(super) fn percent(value: Option<f64>) -> String {
    match value {
        Some(v) if v >= 99.95 => format!("{v:.0} %"),
        Some(v) => format!("{v:.1} %"),
        None => NONE.into(),
    }
}

/// A text within JSON; a dash if there is none.
pub(super) fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or(NONE)
}

/// A number within JSON.
pub(super) fn number(of: &Value, pointer: &str) -> Option<f64> {
    of.pointer(pointer)?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!(count(Some(4.0)), "4");
        assert_eq!(count(Some(12_345.0)), "12.3k");
        assert_eq!(rate(Some(0.5)), "0.50/s");
        assert_eq!(micros(Some(34.0)), "34 µs");
        assert_eq!(millis(Some(1.5)), "1.5 ms");
        assert_eq!(millis(Some(2500.0)), "2.50 s");
        assert_eq!(bytes(Some(24.0 * 1048576.0)), "24.0 MiB");
        assert_eq!(percent(Some(99.99)), "100 %");
        for unknown in [
            count(None),
            rate(None),
            micros(None),
            bytes(None),
            percent(None),
        ] {
            assert_eq!(unknown, NONE);
        }
    }
}
