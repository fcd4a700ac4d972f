//! Avro's binary encoding.

use crate::decode::typed::Fault;

/// Values inside each other beyond which a record is not read: each spends stack.
const MAX_DEPTH: usize = 200;
/// Elements that take no byte, beyond one for each byte of the record.
const FREE: usize = 1 << 16;

const ENDS: Fault = Fault::Wire("it ends in the middle of a value");

/// What is left of a record.
pub(super) struct Reader<'r> {
    rest: &'r [u8],
    depth: usize,
    /// Elements without bytes that may still come.
    free: usize,
}

impl<'r> Reader<'r> {
    pub(super) fn new(bytes: &'r [u8]) -> Self {
        Self { rest: bytes, depth: 0, free: bytes.len() + FREE }
    }

    /// Whether all was read.
    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Goes into a value that may hold others.
    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Fault::Wire("values lie more than 200 deep in each other")) } else { Ok(()) }
    }

    /// Comes out of it.
    #[inline]
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Fault> {
        // Most numbers, and nearly all lengths and branches, are one byte.
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(unzigzag(u64::from(*byte)));
        }
        self.long_of_more()
    }

    fn long_of_more(&mut self) -> Result<i64, Fault> {
        let mut value = 0_u64;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if at == 9 && *byte > 1 {
                break;
            }
            value |= bits << (7 * at);
            if *byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(unzigzag(value));
            }
        }
        if self.rest.len() < 10 { Err(ENDS) } else { Err(Fault::Wire("a number has more than 64 bits")) }
    }

    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, Fault> {
        i32::try_from(self.long()?).map_err(|_| Fault::Wire("an `int` has more than 32 bits"))
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        match self.fixed(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Fault::Wire("a boolean is neither 0 nor 1")),
        }
    }

    #[inline]
    pub(super) fn float(&mut self) -> Result<f32, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ENDS)?;
        self.rest = rest;
        Ok(f32::from_le_bytes(*bytes))
    }

    #[inline]
    pub(super) fn double(&mut self) -> Result<f64, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ENDS)?;
        self.rest = rest;
        Ok(f64::from_le_bytes(*bytes))
    }

    #[inline]
    pub(super) fn fixed(&mut self, size: usize) -> Result<&'r [u8], Fault> {
        let (bytes, rest) = self.rest.split_at_checked(size).ok_or(ENDS)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'r [u8], Fault> {
        let length = self.long()?;
        self.fixed(usize::try_from(length).map_err(|_| Fault::Wire("a length is negative"))?)
    }

    #[inline]
    pub(super) fn string(&mut self) -> Result<&'r str, Fault> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Fault::Wire("a string is not UTF-8"))
    }

    /// The index of one of `count` things.
    #[inline]
    pub(super) fn index(&mut self, count: usize) -> Result<usize, Fault> {
        let index = usize::try_from(self.long()?).ok().filter(|index| *index < count);
        index.ok_or(Fault::Wire("it has a branch or a symbol that the schema lacks"))
    }

    /// Elements of the next block of an array or a map; 0 behind the last. `free`: each may take no byte.
    pub(super) fn block(&mut self, free: bool) -> Result<usize, Fault> {
        let count = self.long()?;
        if count < 0 {
            // Its size in bytes, for those who jump over it.
            self.long()?;
        }
        let count = usize::try_from(count.unsigned_abs()).map_err(|_| ENDS)?;
        let left = if free { &mut self.free } else { &mut self.rest.len() };
        *left = left.checked_sub(count).ok_or(Fault::Wire("an array or a map has more elements than bytes"))?;
        Ok(count)
    }
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_their_limits() {
        let cases: [(&[u8], i64); 6] = [
            (&[0], 0),
            (&[1], -1),
            (&[0x80, 1], 64),
            (&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], i64::MAX),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], i64::MIN),
            // Longer than it need be.
            (&[0x82, 0x80, 0], 1),
        ];
        for (bytes, number) in cases {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.long().unwrap(), number, "{bytes:?}");
            assert!(reader.is_done());
        }
        let beyond: [&[u8]; 3] = [&[], &[0x80], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]];
        assert!(beyond.into_iter().all(|bytes| Reader::new(bytes).long().is_err()));
        assert!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x10]).int().is_err());
    }

    #[test]
    fn no_array_is_longer_than_its_record_can_be() {
        let many = [0xfe, 0xff, 0xff, 0xff, 0x0f, 0];
        assert!(Reader::new(&many).block(false).is_err());
        assert!(Reader::new(&many).block(true).is_err());
        assert_eq!(Reader::new(&[20, 0]).block(true).unwrap(), 10);
        assert!(Reader::new(&[20, 0]).block(false).is_err());
    }
}
