//! What statements run on: a borrowed reader, or a transaction that can write.

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection};

use super::DbError;

/// Something a statement can run on. Stores take `&mut impl Connection` and so work inside and outside transactions.
pub trait Connection: Send {
    fn engine(&mut self) -> EngineConnection<'_>;
}

/// The connection underneath, by engine.
#[derive(Debug)]
pub enum EngineConnection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// A pooled connection for reading; on SQLite the engine refuses writes on it.
#[derive(Debug)]
pub enum Reader {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Connection for Reader {
    fn engine(&mut self) -> EngineConnection<'_> {
        match self {
            Self::Sqlite(connection) => EngineConnection::Sqlite(connection),
            Self::Postgres(connection) => EngineConnection::Postgres(connection),
        }
    }
}

/// An open transaction: [`Transaction::commit`] keeps it, anything else undoes it.
#[derive(Debug)]
#[must_use = "a transaction that is not committed is undone"]
pub enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    /// Returns once the database says it is durable. Only then may anyone be told what happened.
    pub async fn commit(self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    pub async fn rollback(self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await?,
            Self::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

impl Connection for Transaction {
    fn engine(&mut self) -> EngineConnection<'_> {
        match self {
            Self::Sqlite(tx) => EngineConnection::Sqlite(tx),
            Self::Postgres(tx) => EngineConnection::Postgres(tx),
        }
    }
}
