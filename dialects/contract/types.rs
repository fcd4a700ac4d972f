use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

/// The most digits that a decimal can have.
pub const MAX_DECIMAL_PRECISION: u8 = 76;

/// What a value is, whatever the format it came in and the database it goes to.
///
/// The text form of the scalar ones (`int64`, `decimal(18,2)`, `timestamp(3)`) is what users write under `columns:`; all
/// have one for messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogicalType {
    /// True or false.
    Bool,
    /// −2⁷ … 2⁷−1.
    Int8,
    /// −2¹⁵ … 2¹⁵−1.
    Int16,
    /// −2³¹ … 2³¹−1.
    Int32,
    /// −2⁶³ … 2⁶³−1.
    Int64,
    /// 0 … 2⁸−1.
    UInt8,
    /// 0 … 2¹⁶−1.
    UInt16,
    /// 0 … 2³²−1.
    UInt32,
    /// 0 … 2⁶⁴−1.
    UInt64,
    /// −2¹²⁷ … 2¹²⁷−1.
    Int128,
    /// −2²⁵⁵ … 2²⁵⁵−1.
    Int256,
    /// 0 … 2¹²⁸−1.
    UInt128,
    /// 0 … 2²⁵⁶−1.
    UInt256,
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// An exact number of at most `precision` digits, `scale` of them behind the point; `scale ≤ precision ≤ 76`.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// UTF-8 text.
    String,
    /// Bytes of any kind.
    Bytes,
    /// UTF-8 text of at most this many bytes; shorter ones are filled up with zero bytes.
    FixedString {
        /// Bytes of each value.
        bytes: u32,
    },
    /// One of these names.
    Enum(Arc<[EnumValue]>),
    /// Any JSON value, kept as it was written.
    Json,
    /// 128 bits in the order in which they are written.
    Uuid,
    /// A day of the proleptic Gregorian calendar, without a zone.
    Date,
    /// A span of time, or a time of day, counted in units of 10^−`digits` seconds; `digits ≤ 9`.
    Time {
        /// Digits behind the second.
        digits: u8,
    },
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// An instant, counted from 1970-01-01T00:00:00Z in units of 10^−`digits` seconds; `digits ≤ 9`.
    Timestamp {
        /// Digits behind the second: 0 seconds, 3 milliseconds, 6 microseconds, 9 nanoseconds.
        digits: u8,
    },
    /// Any number of values of one type, in order.
    List(Arc<ValueType>),
    /// Any number of pairs of a key and a value.
    Map(Arc<(ValueType, ValueType)>),
    /// A fixed number of values, each of its own type.
    Struct(Arc<[StructField]>),
    /// A value of one of these types: the first, in this order, that it fits.
    Variant(Arc<[ValueType]>),
}

/// A name of a [`LogicalType::Enum`] and the number that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnumValue {
    /// The name.
    pub name: String,
    /// The number.
    pub number: i16,
}

/// A part of a [`LogicalType::Struct`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StructField {
    /// Its name; none where the parts are told by their places alone.
    pub name: Option<String>,
    /// What it holds.
    pub value: ValueType,
}

/// What a column, or a part of one, takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// What a value is.
    pub logical: LogicalType,
    /// Whether it may be null.
    pub nullable: bool,
    /// For dates (days), times and timestamps (ticks): the values that it can hold, where that is less than its
    /// physical type.
    pub range: Option<RangeInclusive<i64>>,
    /// For texts: the characters that it can hold, where there is a limit in characters. For bytes: the bytes.
    pub length: Option<u32>,
    /// For texts: whether it takes bytes that are no UTF-8 as well.
    pub binary: bool,
    /// For timestamps: the zone in which a text without an offset is read; UTC where absent.
    pub zone: Option<String>,
}

impl LogicalType {
    /// Whether its values are whole numbers, of any size.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(
            self,
            Self::Int8
                | Self::Int16
                | Self::Int32
                | Self::Int64
                | Self::Int128
                | Self::Int256
                | Self::UInt8
                | Self::UInt16
                | Self::UInt32
                | Self::UInt64
                | Self::UInt128
                | Self::UInt256
        )
    }
}

impl From<LogicalType> for ValueType {
    /// Values of this type, all of them, never null.
    fn from(logical: LogicalType) -> Self {
        Self { logical, nullable: false, range: None, length: None, binary: false, zone: None }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.logical, if self.nullable { "?" } else { "" })
    }
}

impl fmt::Display for LogicalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int8 => f.write_str("int8"),
            Self::Int16 => f.write_str("int16"),
            Self::Int32 => f.write_str("int32"),
            Self::Int64 => f.write_str("int64"),
            Self::UInt8 => f.write_str("uint8"),
            Self::UInt16 => f.write_str("uint16"),
            Self::UInt32 => f.write_str("uint32"),
            Self::UInt64 => f.write_str("uint64"),
            Self::Int128 => f.write_str("int128"),
            Self::Int256 => f.write_str("int256"),
            Self::UInt128 => f.write_str("uint128"),
            Self::UInt256 => f.write_str("uint256"),
            Self::Float32 => f.write_str("float32"),
            Self::Float64 => f.write_str("float64"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::FixedString { bytes } => write!(f, "fixed({bytes})"),
            Self::Enum(_) => f.write_str("enum"),
            Self::Json => f.write_str("json"),
            Self::Uuid => f.write_str("uuid"),
            Self::Date => f.write_str("date"),
            Self::Time { digits } => write!(f, "time({digits})"),
            Self::Ipv4 => f.write_str("ipv4"),
            Self::Ipv6 => f.write_str("ipv6"),
            Self::Timestamp { digits } => write!(f, "timestamp({digits})"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(pair) => write!(f, "map({}, {})", pair.0, pair.1),
            Self::Struct(fields) => {
                f.write_str("struct(")?;
                for (index, field) in fields.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    let name = field.name.as_ref().map_or_else(String::new, |name| format!("{name} "));
                    write!(f, "{separator}{name}{}", field.value)?;
                }
                f.write_str(")")
            }
            Self::Variant(types) => {
                f.write_str("variant(")?;
                for (index, value) in types.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

/// A text that is not a [`LogicalType`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a type of rowfall's")]
pub struct ParseTypeError(pub String);

impl FromStr for LogicalType {
    type Err = ParseTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseTypeError(text.to_owned());
        let (name, arguments) = match text.split_once('(') {
            None => (text, Vec::new()),
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')').ok_or_else(unknown)?;
                let numbers = inner.split(',').map(|n| n.trim().parse::<u8>());
                (name, numbers.collect::<Result<_, _>>().map_err(|_| unknown())?)
            }
        };
        Ok(match (name, arguments.as_slice()) {
            ("bool", []) => Self::Bool,
            ("int8", []) => Self::Int8,
            ("int16", []) => Self::Int16,
            ("int32", []) => Self::Int32,
            ("int64", []) => Self::Int64,
            ("uint8", []) => Self::UInt8,
            ("uint16", []) => Self::UInt16,
            ("uint32", []) => Self::UInt32,
            ("uint64", []) => Self::UInt64,
            ("int128", []) => Self::Int128,
            ("int256", []) => Self::Int256,
            ("uint128", []) => Self::UInt128,
            ("uint256", []) => Self::UInt256,
            ("json", []) => Self::Json,
            ("ipv4", []) => Self::Ipv4,
            ("ipv6", []) => Self::Ipv6,
            ("time", &[digits]) if digits <= 9 => Self::Time { digits },
            ("float32", []) => Self::Float32,
            ("float64", []) => Self::Float64,
            ("string", []) => Self::String,
            ("bytes", []) => Self::Bytes,
            ("uuid", []) => Self::Uuid,
            ("date", []) => Self::Date,
            ("timestamp", []) => Self::Timestamp { digits: 3 },
            ("timestamp", &[digits]) if digits <= 9 => Self::Timestamp { digits },
            ("decimal", &[precision, scale])
                if (1..=MAX_DECIMAL_PRECISION).contains(&precision) && scale <= precision =>
            {
                Self::Decimal { precision, scale }
            }
            _ => return Err(unknown()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_round_trips(precision in 1u8..=76, scale in 0u8..=76, digits in 0u8..=9) {
            let decimal = LogicalType::Decimal { precision, scale: scale.min(precision) };
            prop_assert_eq!(decimal.to_string().parse(), Ok(decimal.clone()));
            let timestamp = LogicalType::Timestamp { digits };
            prop_assert_eq!(timestamp.to_string().parse(), Ok(timestamp.clone()));
        }
    }

    #[test]
    fn refuses_what_is_no_type() {
        for text in ["", "int", "decimal", "decimal(77,0)", "decimal(3,4)", "timestamp(10)", "decimal(3,2", "String"] {
            assert_eq!(text.parse::<LogicalType>(), Err(ParseTypeError(text.to_owned())));
        }
    }
}
