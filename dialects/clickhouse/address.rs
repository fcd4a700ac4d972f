//! What a `clickhouse://` URL says.

use std::net::IpAddr;

use url::Url;

use super::settings::{EXPECTED, PINNED};
use crate::contract::{Compression, Error, Target};

/// Where one server is and how to enter.
pub(super) struct Address {
    /// `http://host:port` or `https://host:port`.
    pub(super) endpoint: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: String,
    /// Settings for every statement.
    pub(super) settings: Vec<(String, String)>,
    /// What is done to what is sent.
    pub(super) compression: clickhouse::Compression,
}

/// The fastest level: the higher ones cost an insert more CPU than they save anyone network.
const ZSTD_LEVEL: i32 = 1;

/// Parameters of ClickHouse's HTTP interface that are not settings and would change what a request is.
const PARAMETERS: &[&str] = &[
    "query",
    "query_id",
    "session_id",
    "database",
    "user",
    "password",
    "compress",
    "decompress",
    "default_format",
    "insert_deduplication_token",
    "client_protocol_version",
];

impl Address {
    /// Each of the target's hosts, in its order.
    pub(super) fn all(target: &Target) -> Result<Vec<Self>, Error> {
        [&target.url].into_iter().chain(&target.others).map(|url| Self::of(target, url)).collect()
    }

    fn of(target: &Target, url: &Url) -> Result<Self, Error> {
        let tls = url.scheme() == "clickhouses";
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| {
            Error::pause(format!("{} names no host", shown(target)))
                .with_hint("write it as clickhouse://user:password@host:8123/database")
        })?;
        let port = url.port().unwrap_or(if tls { 8443 } else { 8123 });
        let path = url.path().trim_matches('/');
        if path.contains('/') {
            return Err(Error::pause(format!("{} has more than a database in its path", shown(target)))
                .with_hint("write it as clickhouse://user:password@host:8123/database"));
        }
        let decode = |what: &str, text: &str| {
            percent_decode(text).ok_or_else(|| {
                Error::pause(format!("the {what} in {} is not UTF-8", shown(target)))
                    .with_hint("percent-encode its UTF-8 bytes")
            })
        };
        let database = decode("database", path)?;
        let user = decode("user", url.username())?;
        let password = url.password().map(|password| decode("password", password)).transpose()?;
        Ok(Self {
            endpoint: format!("{}://{host}:{port}", if tls { "https" } else { "http" }),
            user: Some(user).filter(|user| !user.is_empty()),
            password,
            database: if database.is_empty() { "default".to_owned() } else { database },
            settings: settings(url)?,
            compression: match target.compression {
                // On loopback the bytes cost less than compressing them.
                Compression::Auto if is_loopback(host) => clickhouse::Compression::None,
                Compression::None => clickhouse::Compression::None,
                Compression::Auto | Compression::Lz4 => clickhouse::Compression::Lz4,
                Compression::Zstd => clickhouse::Compression::Zstd(ZSTD_LEVEL),
            },
        })
    }
}

fn settings(url: &Url) -> Result<Vec<(String, String)>, Error> {
    let mut settings = Vec::new();
    for (name, value) in url.query_pairs() {
        if let Some((_, pinned)) = PINNED.iter().chain(EXPECTED).find(|(pinned, _)| *pinned == name) {
            return Err(Error::pause(format!("the setting {name} is rowfall's own: it has to be {pinned}"))
                .with_hint("remove it from the target's url"));
        }
        if PARAMETERS.contains(&name.as_ref()) || name.starts_with("param_") {
            return Err(Error::pause(format!("{name} cannot be set in the target's url")).with_hint(
                "keep to ClickHouse settings there; user, password and database have places of their own: \
                 clickhouse://user:password@host:8123/database",
            ));
        }
        settings.push((name.into_owned(), value.into_owned()));
    }
    Ok(settings)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The target for messages; a query can hold secrets as well as the password can.
fn shown(target: &Target) -> String {
    let text = target.to_string();
    text.split('?').next().unwrap_or_default().to_owned()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str, compression: Compression) -> Result<Vec<Address>, Error> {
        Address::all(&Target::parse(url, compression).unwrap())
    }

    fn address(url: &str) -> Address {
        addresses(url, Compression::Auto).unwrap().remove(0)
    }

    #[test]
    fn everything_can_be_said() {
        let url = "clickhouse://app:s%40%2Fc%C3%BC+%25@db.example:9999/my%20shop?max_partitions_per_insert_block=500";
        let address = address(url);
        assert_eq!(address.endpoint, "http://db.example:9999");
        assert_eq!(address.user.as_deref(), Some("app"));
        assert_eq!(address.password.as_deref(), Some("s@/cü+%"));
        assert_eq!(address.database, "my shop");
        assert_eq!(address.settings, [("max_partitions_per_insert_block".to_owned(), "500".to_owned())]);
    }

    #[test]
    fn little_need_be_said() {
        let plain = address("clickhouse://localhost");
        assert_eq!((plain.endpoint.as_str(), plain.database.as_str()), ("http://localhost:8123", "default"));
        assert_eq!((plain.user, plain.password), (None, None));
        assert_eq!(address("clickhouses://db.example/").endpoint, "https://db.example:8443");
    }

    #[test]
    fn hosts_share_all_but_their_ports() {
        let all = addresses("clickhouses://app:secret@one,two:9443/shop?x=1", Compression::Auto).unwrap();
        let endpoints: Vec<_> = all.iter().map(|address| address.endpoint.as_str()).collect();
        assert_eq!(endpoints, ["https://one:8443", "https://two:9443"]);
        for address in all {
            assert_eq!((address.database.as_str(), address.password.as_deref()), ("shop", Some("secret")));
            assert_eq!(address.settings, [("x".to_owned(), "1".to_owned())]);
        }
    }

    #[test]
    fn compression_is_left_out_on_loopback_only() {
        use clickhouse::Compression as Sent;
        let sent = |host: &str, compression| {
            addresses(&format!("clickhouse://{host}"), compression).unwrap().remove(0).compression
        };
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.0.1", "[::1]"] {
            assert_eq!(sent(host, Compression::Auto), Sent::None, "{host}");
            assert_eq!(sent(host, Compression::Lz4), Sent::Lz4, "{host}");
        }
        for host in ["10.0.0.1", "localhost.example", "[::2]"] {
            assert_eq!(sent(host, Compression::Auto), Sent::Lz4, "{host}");
            assert_eq!(sent(host, Compression::None), Sent::None, "{host}");
            assert_eq!(sent(host, Compression::Zstd), Sent::Zstd(ZSTD_LEVEL), "{host}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let message = |url: &str| addresses(url, Compression::Auto).err().unwrap().to_string();
        insta::assert_snapshot!(message("clickhouse:///shop"), @"clickhouse:///shop names no host");
        insta::assert_snapshot!(message("clickhouse://u:secret@h/a/b?x=y"), @"clickhouse://u:***@h/a/b has more than a database in its path");
        insta::assert_snapshot!(message("clickhouse://u:%FF@h"), @"the password in clickhouse://u:***@h is not UTF-8");
        insta::assert_snapshot!(message("clickhouse://h?async_insert=1"), @"the setting async_insert is rowfall's own: it has to be 0");
        insta::assert_snapshot!(message("clickhouse://h?database=x"), @"database cannot be set in the target's url");
    }
}
