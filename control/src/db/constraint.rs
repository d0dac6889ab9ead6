//! What can go wrong below a statement, sorted by what a caller could do about it.

use sqlx::error::{DatabaseError, ErrorKind};

/// A failed database operation.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The data refused: a rule of the schema was violated. Stores turn the ones they expect into refusals.
    #[error("{violation}")]
    Violated { violation: Violation, source: sqlx::Error },
    /// Somebody else held the rows too long, or a deadlock was broken at our expense: the same call may work later.
    #[error("database contended")]
    Contended(#[source] sqlx::Error),
    /// The database cannot be reached, or has no connection left for us.
    #[error("database unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// Tables could not be brought up to date.
    #[error("migration failed")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A stored text is none of the values this program writes there.
    #[error("column {column} holds an unknown value")]
    Unreadable { column: &'static str },
    /// A defect on our side: wrong SQL, wrong type, missing row.
    #[error("database statement failed")]
    Statement(#[source] sqlx::Error),
}

/// The rule of the schema that was violated, under the same name on both engines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// `<table>_<columns>_key`, primary keys included.
    #[error("unique constraint {0} violated")]
    Unique(String),
    #[error("check constraint {0} violated")]
    Check(String),
    /// SQLite does not say which one.
    #[error("foreign key violated")]
    ForeignKey,
    #[error("column must not be null")]
    NotNull,
}

impl DbError {
    /// Whether this is a duplicate under the unique or primary key of that name.
    pub fn is_duplicate(&self, constraint: &str) -> bool {
        matches!(self, Self::Violated { violation: Violation::Unique(name), .. } if name == constraint)
    }

    /// Whether a row this one points to is missing.
    pub const fn is_dangling(&self) -> bool {
        matches!(self, Self::Violated { violation: Violation::ForeignKey, .. })
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(refused) => match violation(refused.as_ref()) {
                Some(violation) => Self::Violated { violation, source: error },
                None if is_contention(refused.code().as_deref()) => Self::Contended(error),
                None if is_outage(refused.code().as_deref()) => Self::Unavailable(error),
                None => Self::Statement(error),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Configuration(_) => Self::Unavailable(error),
            _ => Self::Statement(error),
        }
    }
}

fn violation(error: &dyn DatabaseError) -> Option<Violation> {
    match error.kind() {
        ErrorKind::UniqueViolation => Some(Violation::Unique(match error.constraint() {
            Some(name) => name.to_owned(),
            None => sqlite_key_name(error.message()),
        })),
        ErrorKind::CheckViolation => Some(Violation::Check(match error.constraint() {
            Some(name) => name.to_owned(),
            None => after_colon(error.message()).to_owned(),
        })),
        ErrorKind::ForeignKeyViolation => Some(Violation::ForeignKey),
        ErrorKind::NotNullViolation => Some(Violation::NotNull),
        _ => None,
    }
}

/// SQLite names columns, not constraints: "UNIQUE constraint failed: login.user_id, login.device" becomes
/// `login_user_id_device_key`, the name by which PostgreSQL's table declares it. An index on an expression is named as it
/// is: "UNIQUE constraint failed: index 'app_user_email_key'".
fn sqlite_key_name(message: &str) -> String {
    let listed = after_colon(message);
    if let Some(index) = listed.strip_prefix("index '") {
        return index.trim_end_matches('\'').to_owned();
    }
    let mut name = String::new();
    for column in listed.split(", ") {
        let (table, column) = column.split_once('.').unwrap_or(("", column));
        if name.is_empty() {
            name.push_str(table);
        }
        name.push('_');
        name.push_str(column);
    }
    name.push_str("_key");
    name
}

fn after_colon(message: &str) -> &str {
    message.rsplit_once("failed: ").map_or(message, |(_, listed)| listed)
}

/// PostgreSQL: serialization failure, deadlock, lock not available, statement timeout. SQLite: busy and its extensions.
fn is_contention(code: Option<&str>) -> bool {
    matches!(code, Some("40001" | "40P01" | "55P03" | "57014" | "5" | "261" | "517" | "773" | "6" | "262"))
}

/// PostgreSQL: shutting down, starting up, too many connections, out of resources. SQLite: I/O error, disk full.
fn is_outage(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        matches!(code, "57P01" | "57P02" | "57P03" | "13" | "10")
            || (code.len() == 5 && (code.starts_with("53") || code.starts_with("08")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_columns_become_the_constraint_name() {
        for (message, name) in [
            ("UNIQUE constraint failed: app_user.email", "app_user_email_key"),
            ("UNIQUE constraint failed: seat.session_id, seat.user_id", "seat_session_id_user_id_key"),
            ("UNIQUE constraint failed: index 'app_user_username_key'", "app_user_username_key"),
        ] {
            assert_eq!(sqlite_key_name(message), name);
        }
        assert_eq!(after_colon("CHECK constraint failed: app_user_level_check"), "app_user_level_check");
    }
}
