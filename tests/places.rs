//! The databases, each with its URL and what answers statements.

use rowfall_services::{MySql, Product};

use crate::{databases, support};

/// A database: its URL and what answers statements, a column of texts.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) ask: Box<Ask>,
    /// Around names.
    pub(crate) quote: char,
}

pub(crate) type Ask = dyn Fn(&str) -> Vec<String>;

pub(crate) fn clickhouse() -> Place {
    let server = support::services().clickhouse;
    let url = support::target(&server);
    let ask = move |sql: &str| support::query(&server, sql).lines().map(str::to_owned).collect();
    Place { url, ask: Box::new(ask), quote: '`' }
}

pub(crate) fn postgres() -> Place {
    let url = support::services().postgres.url();
    let server = url.clone();
    Place { url, ask: Box::new(move |sql| databases::lines::<sqlx::PgConnection>(&server, sql)), quote: '"' }
}

pub(crate) fn mysql(product: Product) -> Place {
    let server = MySql::running(product).unwrap_or_else(|error| panic!("{error}"));
    databases::lines::<sqlx::MySqlConnection>(
        &server.url(""),
        "CREATE DATABASE IF NOT EXISTS rowfall_test_utf8 CHARACTER SET utf8mb4",
    );
    let url = server.url("rowfall_test_utf8");
    let server = url.clone();
    Place { url, ask: Box::new(move |sql| databases::lines::<sqlx::MySqlConnection>(&server, sql)), quote: '`' }
}

pub(crate) fn sqlite(folder: &tempfile::TempDir) -> Place {
    let url = format!("sqlite://{}", folder.path().join("shop.db").display());
    let file = url.clone();
    Place { url, ask: Box::new(move |sql| databases::lines::<sqlx::SqliteConnection>(&file, sql)), quote: '"' }
}
