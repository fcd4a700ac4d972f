//! A record as it comes.

use std::ffi::CStr;

/// A record as it comes.
#[derive(Clone, Copy)]
pub struct Record<'r> {
    /// Its key, where it has one.
    pub key: Option<&'r [u8]>,
    /// Its value; a tombstone has none.
    pub value: Option<&'r [u8]>,
    /// Its headers.
    pub headers: &'r dyn Headers,
    /// The topic.
    pub topic: &'r str,
    /// The partition's number.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// How often the places of its topic began anew: with offsets they say which of two records of a key is later.
    pub era: u16,
}

/// A record's headers, wherever they are.
pub trait Headers {
    /// The last one of this name: its value, where it has one; `None` where there is no such header.
    fn last(&self, name: &CStr) -> Option<Option<&[u8]>>;
}

/// No headers.
impl Headers for () {
    fn last(&self, _: &CStr) -> Option<Option<&[u8]>> {
        None
    }
}

/// Names and values, in their order.
impl Headers for Vec<(String, Option<Vec<u8>>)> {
    fn last(&self, name: &CStr) -> Option<Option<&[u8]>> {
        let found = self.iter().rev().find(|(header, _)| header.as_bytes() == name.to_bytes());
        found.map(|(_, value)| value.as_deref())
    }
}
