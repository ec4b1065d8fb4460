//! What Redis is asked in place of a read.

use super::{Source, USERS};
use crate::bench::random::Random;

/// `GET` of one of [`USERS`] keys.
pub struct RedisGet;

impl Source for RedisGet {
    fn fill(&mut self, connection: usize, random: &mut Random, out: &mut Vec<u8>) {
        let index = random.below(USERS as u32);
        self.fill_nth(connection, index, out);
    }

    fn distinct(&self) -> Option<u32> {
        Some(USERS as u32)
    }

    fn fill_nth(&mut self, _connection: usize, index: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$9\r\nuser");
        out.extend_from_slice(&redis_digits(index));
        out.extend_from_slice(b"\r\n");
    }
}

/// The five digits of a Redis key, `user00042`.
pub fn redis_digits(index: u32) -> [u8; 5] {
    let mut digits = [b'0'; 5];
    let mut rest = index;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_keys_have_five_digits() {
        let mut out = Vec::new();
        RedisGet.fill_nth(0, 42, &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$9\r\nuser00042\r\n");
    }
}
