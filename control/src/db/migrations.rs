//! Bringing the tables up to date. `migrations/sqlite` and `migrations/postgres` are numbered alike, one step per file,
//! only forward, and written so that the previous binary can still run beside them.

use sqlx::migrate::Migrator;

use super::{Database, DbError, Engine};

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");

impl Database {
    /// Applies what is missing. On PostgreSQL an advisory lock lets several nodes start at once.
    pub(super) async fn migrate(&self) -> Result<(), DbError> {
        match &self.engine {
            Engine::Sqlite { writer, .. } => SQLITE.run(writer).await?,
            Engine::Postgres(pool) => POSTGRES.run(pool).await?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_have_the_same_steps() {
        let steps = |migrator: &Migrator| {
            migrator.iter().map(|step| (step.version, step.description.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(steps(&SQLITE), steps(&POSTGRES));
        assert!(!steps(&SQLITE).is_empty());
    }
}
