//! The SQL database: SQLite beside the binary or PostgreSQL, behind one set of types.
//!
//! A store writes its statements once with [`statements!`](crate::db::statements) and runs them on whatever
//! [`Connection`] it is given; the engine is chosen here and nowhere else. House rules, so that one text serves both:
//!
//! - column types are `text`, `bigint`/`integer`, `boolean`/`integer` and `bytea`/`blob`; times are UTC microseconds;
//! - `$1` placeholders, `returning`, `on conflict`; a bare parameter is given a type: `cast($1 as text) is null`;
//! - unique and primary keys are named `<table>_<columns>_key`, checks by name: code matches on them (`constraint.rs`);
//! - lists of unknown length are never read: every `select` of many rows has a `limit`;
//! - writes happen in a [`Transaction`], reads may use a [`Reader`].

mod connection;
mod constraint;
mod migrations;
mod statement;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};

pub use self::connection::{Connection, Reader, Transaction};
pub use self::constraint::{DbError, Violation};
#[cfg(test)]
pub(crate) use self::statement::Registered;
pub(crate) use self::statement::statements;
pub use self::statement::{Query, Row, Statement};
use crate::config::{DatabaseConfig, SqliteSync};

/// A pool of connections to the configured engine. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    /// One writer connection, so that writers queue here in order instead of meeting as "database is locked";
    /// any number of readers beside it, as WAL allows.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

impl Database {
    /// Opens the configured database and brings its tables up to date. An empty URL means `chobi.db` in `data_dir`.
    pub async fn open(config: &DatabaseConfig, data_dir: &Path) -> Result<Self, DbError> {
        let url = config.url.reveal();
        let engine = if url.is_empty() {
            open_sqlite(config, SqliteConnectOptions::new().filename(data_dir.join("chobi.db"))).await?
        } else if url.starts_with("sqlite:") {
            open_sqlite(config, url.parse()?).await?
        } else {
            open_postgres(config, url.parse()?).await?
        };
        let database = Self { engine };
        database.migrate().await?;
        Ok(database)
    }

    /// A connection for statements that only read. Waits for a free one as long as `acquire_timeout`.
    pub async fn reader(&self) -> Result<Reader, DbError> {
        Ok(match &self.engine {
            Engine::Sqlite { readers, .. } => Reader::Sqlite(readers.acquire().await?),
            Engine::Postgres(pool) => Reader::Postgres(pool.acquire().await?),
        })
    }

    /// A transaction that may write; dropping it undoes it. On SQLite it holds the only writer, so keep it short and
    /// await nothing but the database inside.
    pub async fn begin(&self) -> Result<Transaction, DbError> {
        Ok(match &self.engine {
            // `immediate`: a transaction that begins by reading would otherwise fail at its first write, at once and
            // without regard to the busy timeout, when another process holds the lock.
            Engine::Sqlite { writer, .. } => Transaction::Sqlite(writer.begin_with("begin immediate").await?),
            Engine::Postgres(pool) => Transaction::Postgres(pool.begin().await?),
        })
    }

    /// Proves that a write would work, for readiness probes.
    pub async fn probe(&self) -> Result<(), DbError> {
        let mut tx = self.begin().await?;
        PROBE.on(&mut tx).bind(1_i64).execute().await?;
        tx.rollback().await
    }

    /// Which engine runs, for logs and for statements that differ.
    pub const fn engine_name(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite { .. } => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// Waits for running statements and closes every connection.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres(pool) => pool.close().await,
        }
    }
}

statements! {
    /// Takes the write lock and touches a row, then is rolled back.
    PROBE = "update probe set tried = tried + $1";
}

async fn open_sqlite(config: &DatabaseConfig, options: SqliteConnectOptions) -> Result<Engine, DbError> {
    let synchronous = match config.sqlite_sync {
        SqliteSync::Normal => SqliteSynchronous::Normal,
        SqliteSync::Full => SqliteSynchronous::Full,
    };
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(config.busy_timeout)
        .pragma("journal_size_limit", "67108864")
        .pragma("wal_autocheckpoint", "4000")
        .optimize_on_close(true, None);
    let pool =
        || SqlitePoolOptions::new().acquire_timeout(config.acquire_timeout).idle_timeout(None).max_lifetime(None);
    // The writer first: it creates the file and switches it to WAL, which the readers then find.
    let writer = pool().max_connections(1).connect_with(options.clone()).await?;
    let readers = pool()
        .max_connections(config.pool_size)
        .idle_timeout(Duration::from_secs(60))
        .connect_lazy_with(options.pragma("query_only", "on"));
    Ok(Engine::Sqlite { writer, readers })
}

async fn open_postgres(config: &DatabaseConfig, options: PgConnectOptions) -> Result<Engine, DbError> {
    let millis = |span: Duration| span.as_millis().to_string();
    let options = options.application_name("chobi").options([
        ("statement_timeout", millis(config.statement_timeout)),
        ("lock_timeout", millis(config.lock_timeout)),
        ("idle_in_transaction_session_timeout", millis(config.statement_timeout * 2)),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(config.pool_size)
        .acquire_timeout(config.acquire_timeout)
        .connect_with(options)
        .await?;
    Ok(Engine::Postgres(pool))
}
