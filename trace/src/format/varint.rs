//! Numbers in as few bytes as they need.

use super::FormatError;

/// What is left to be read. Reading past the end is [`Stop::Short`]: the rest may be still to come.
#[derive(Clone, Debug)]
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
}

/// Why a record could not be read.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It goes on beyond the bytes there are.
    Short,
    /// It is none.
    Bad(FormatError),
}

impl From<FormatError> for Stop {
    fn from(error: FormatError) -> Stop {
        Stop::Bad(error)
    }
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Bytes<'a> {
        Bytes { rest }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Stop> {
        let (&byte, rest) = self.rest.split_first().ok_or(Stop::Short)?;
        self.rest = rest;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Stop::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, Stop> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut number = u64::from(first & 0x7F);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(FormatError::NumberTooLarge.into())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Stop> {
        u32::try_from(self.u64()?).map_err(|_| FormatError::NumberTooLarge.into())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Stop> {
        i32::try_from(unzigzag(self.u64()?)).map_err(|_| FormatError::NumberTooLarge.into())
    }

    /// A number that is written as its distance to another.
    #[inline]
    pub(crate) fn near(&mut self, other: u64) -> Result<u64, Stop> {
        Ok(other.wrapping_add_signed(unzigzag(self.u64()?)))
    }
}

#[inline]
pub(crate) fn put(out: &mut Vec<u8>, number: u64) {
    // Most are small.
    if number < 0x80 {
        out.push(number as u8);
    } else {
        put_long(out, number);
    }
}

#[inline(never)]
fn put_long(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_i32(out: &mut Vec<u8>, number: i32) {
    put(out, zigzag(i64::from(number)));
}

#[inline]
pub(crate) fn put_near(out: &mut Vec<u8>, number: u64, other: u64) {
    put(out, zigzag(number.wrapping_sub(other).cast_signed()));
}

/// Small numbers of either sign to small ones without: 0, -1, 1, -2, … become 0, 1, 2, 3, ….
#[inline]
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
