//! A question about rows that travel with it: ClickHouse's external data, a form with a file in it, for which the
//! `clickhouse` crate has no call. It needs no right on any table, unlike a temporary table or a table function.

use std::error::Error as StdError;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

use super::address::Address;
use super::codes::{self, Of};
use super::server::{QUERY_TIMEOUT, not_clickhouse, unreachable};
use crate::contract::{Advice, Error};

/// The table that the rows are to a question.
pub(super) const ROWS: &str = "_rows";

/// Rows hold any bytes; this must not be among them. Random enough, and fixed.
const BOUNDARY: &str = "rowfall-7c0f1c9f-5b1e-4e43-8d5a-d1b6b1f0a2c4";

/// Asks for a single column of UInt64 over `rows`, a Native block of columns as `structure` declares them.
pub(super) async fn ask(
    address: &Address,
    doing: &str,
    sql: &str,
    structure: &str,
    rows: &[u8],
) -> Result<Vec<u64>, Error> {
    let endpoint = &address.endpoint;
    let mut url = Url::parse(endpoint).map_err(|error| Error::pause(format!("{doing}: {endpoint}: {error}")))?;
    url.query_pairs_mut()
        .append_pair("query", sql)
        .append_pair("default_format", "RowBinary")
        .append_pair("database", &address.database)
        .append_pair(&format!("{ROWS}_format"), "Native")
        .append_pair(&format!("{ROWS}_structure"), structure)
        .extend_pairs(&address.settings);
    let mut request = Request::post(url.as_str())
        .header(CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
        .header("X-ClickHouse-User", address.user.as_deref().unwrap_or("default"));
    if let Some(password) = &address.password {
        request = request.header("X-ClickHouse-Key", password);
    }
    let body = form(rows).ok_or_else(|| Error::pause(format!("{doing}: a row holds the form's boundary")))?;
    let request = request.body(Full::new(body)).map_err(|error| {
        Error::pause(format!("{doing}: user or password cannot be sent"))
            .with_hint("keep to visible ASCII characters in both")
            .with_source(error)
    })?;

    let network = |error: Box<dyn StdError + Send + Sync>| unreachable(doing, endpoint, error);
    let answer = async {
        let response: Response<_> = client().request(request).await.map_err(|error| network(error.into()))?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|error| network(error.into()))?.to_bytes();
        Ok::<_, Error>((status, bytes))
    };
    let late = |_| Error::new(Advice::Retry, format!("{doing}: {endpoint} did not answer in time"));
    let (status, bytes) = tokio::time::timeout(QUERY_TIMEOUT, answer).await.map_err(late)??;
    if status == StatusCode::OK {
        let numbers = bytes.chunks_exact(8).map(|number| u64::from_le_bytes(number.try_into().expect("eight bytes")));
        return Ok(numbers.collect());
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = if text.trim().is_empty() { status.to_string().into() } else { text };
    Err(codes::from_exception(doing, Of::Statement, &text).unwrap_or_else(|| not_clickhouse(doing, endpoint, &text)))
}

/// A client for one question: it is asked so seldom that no connection waits for the next.
fn client() -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
        .expect("ring knows the default protocol versions")
        .https_or_http()
        .enable_http1()
        .build();
    Client::builder(TokioExecutor::new()).build(connector)
}

fn form(rows: &[u8]) -> Option<Bytes> {
    if rows.windows(BOUNDARY.len()).any(|window| window == BOUNDARY.as_bytes()) {
        return None;
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{ROWS}\"; filename=\"{ROWS}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    Some([head.as_bytes(), rows, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat().into())
}
