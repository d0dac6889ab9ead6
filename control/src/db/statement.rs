//! One statement text for both engines, bound and run on whichever is there.

use std::fmt;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Decode, Encode, Postgres, Row as _, Sqlite, Type};

use super::connection::{Connection, EngineConnection};
use super::constraint::DbError;

/// An SQL statement known at compile time. Made by [`statements!`].
#[derive(Debug)]
pub struct Statement {
    /// `module::NAME`, for logs and for the test that prepares every statement.
    pub name: &'static str,
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

/// Declares the statements of a store. Each is prepared on both engines by a test of `db`, without further ado.
///
/// ```ignore
/// statements! {
///     /// A user's name for chat lines.
///     NAME_OF = "select display_name from app_user where user_id = $1";
///     /// Where the engines must differ, both texts stand side by side.
///     LOCK = sqlite "select 1 where $1 <> ''" postgres "select 1 from app_user where user_id = $1 for update";
/// }
/// NAME_OF.on(&mut reader).bind(&user_id).optional().await?
/// ```
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $($engine:ident)? $text:literal $($other:ident $other_text:literal)?;)+) => {
        $(
            $(#[$doc])*
            static $name: $crate::db::Statement = $crate::db::statements!(
                @build concat!(module_path!(), "::", stringify!($name)), $($engine)? $text $($other $other_text)?
            );
            #[cfg(test)]
            inventory::submit! { $crate::db::Registered(&$name) }
        )+
    };
    (@build $name:expr, sqlite $sqlite:literal postgres $postgres:literal) => {
        $crate::db::Statement { name: $name, sqlite: $sqlite, postgres: $postgres }
    };
    (@build $name:expr, $text:literal) => {
        $crate::db::Statement { name: $name, sqlite: $text, postgres: $text }
    };
}
pub(crate) use statements;

/// A statement as the preparing test finds it.
#[cfg(test)]
pub(crate) struct Registered(pub(crate) &'static Statement);

#[cfg(test)]
inventory::collect!(Registered);

impl Statement {
    /// Starts a run on `connection`; bind the parameters in order, then choose how many rows to expect.
    pub fn on<'c>(&self, connection: &'c mut impl Connection) -> Query<'c> {
        match connection.engine() {
            EngineConnection::Sqlite(connection) => Query::Sqlite(connection, sqlx::query(self.sqlite)),
            EngineConnection::Postgres(connection) => Query::Postgres(connection, sqlx::query(self.postgres)),
        }
    }
}

/// A value either engine can take as a parameter.
pub trait Bind<'q>: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> {}
impl<'q, T> Bind<'q> for T where T: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> {}

/// A value either engine can give back from a column.
pub trait Column: for<'r> ColumnOf<'r> {}
impl<T> Column for T where T: for<'r> ColumnOf<'r> {}

/// [`Column`] for one borrow of a row; implemented for every type both engines decode.
pub trait ColumnOf<'r>: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}
impl<'r, T> ColumnOf<'r> for T where T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

/// A statement on its way to the engine.
#[must_use = "a query does nothing until it is run"]
pub enum Query<'c> {
    Sqlite(&'c mut sqlx::SqliteConnection, sqlx::query::Query<'static, Sqlite, SqliteArguments>),
    Postgres(&'c mut sqlx::PgConnection, sqlx::query::Query<'static, Postgres, PgArguments>),
}

impl Query<'_> {
    /// The next parameter: `$1`, then `$2`, and so on.
    pub fn bind<'q>(self, value: impl Bind<'q>) -> Self {
        match self {
            Self::Sqlite(connection, query) => Self::Sqlite(connection, query.bind(value)),
            Self::Postgres(connection, query) => Self::Postgres(connection, query.bind(value)),
        }
    }

    /// Runs it for its effect and tells how many rows it touched.
    pub async fn execute(self) -> Result<u64, DbError> {
        Ok(match self {
            Self::Sqlite(connection, query) => query.execute(connection).await?.rows_affected(),
            Self::Postgres(connection, query) => query.execute(connection).await?.rows_affected(),
        })
    }

    /// The first row, if there is one.
    pub async fn optional(self) -> Result<Option<Row>, DbError> {
        Ok(match self {
            Self::Sqlite(connection, query) => query.fetch_optional(connection).await?.map(Row::Sqlite),
            Self::Postgres(connection, query) => query.fetch_optional(connection).await?.map(Row::Postgres),
        })
    }

    /// The one row a statement always yields, such as a count or an unconditional `returning`.
    pub async fn one(self) -> Result<Row, DbError> {
        Ok(match self {
            Self::Sqlite(connection, query) => Row::Sqlite(query.fetch_one(connection).await?),
            Self::Postgres(connection, query) => Row::Postgres(query.fetch_one(connection).await?),
        })
    }

    /// Every row; the statement itself holds the `limit`.
    pub async fn all(self) -> Result<Vec<Row>, DbError> {
        Ok(match self {
            Self::Sqlite(connection, query) => {
                query.fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection, query) => {
                query.fetch_all(connection).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }
}

/// One row of a result.
pub enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column by name; `Option<T>` where it may be null.
    pub fn column<T: Column>(&self, name: &str) -> Result<T, DbError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(name)?,
            Self::Postgres(row) => row.try_get(name)?,
        })
    }
}

impl fmt::Debug for Row {
    /// Rows hold personal data and hashes; their content stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("row")
    }
}

impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("query")
    }
}
