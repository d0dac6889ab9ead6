//! What tests of this crate and of the whole need: throwaway databases on both engines.
//!
//! Compiled for this crate's own tests and under the feature `test-support`, never into the server.

mod postgres;
#[cfg(test)]
pub(crate) mod served;
#[cfg(test)]
pub(crate) mod stage;

use std::ops::Deref;

use tempfile::TempDir;

use crate::config::DatabaseConfig;
use crate::db::Database;
use crate::secret::Secret;

/// An empty, migrated database of its own for one test.
#[derive(Debug)]
pub struct TestDatabase {
    database: Database,
    config: DatabaseConfig,
    dir: TempDir,
}

impl TestDatabase {
    /// A file in a temporary folder, gone when this is dropped.
    pub async fn sqlite() -> Self {
        Self::open(DatabaseConfig { pool_size: 4, ..DatabaseConfig::default() }).await
    }

    /// A new database on the one PostgreSQL server that all tests of this run share.
    ///
    /// # Panics
    /// When PostgreSQL is not installed: a test on one engine only would prove half.
    pub async fn postgres() -> Self {
        let url = Secret::new(postgres::create_database().await);
        Self::open(DatabaseConfig { url, pool_size: 4, ..DatabaseConfig::default() }).await
    }

    async fn open(config: DatabaseConfig) -> Self {
        let dir = TempDir::new().expect("a temporary folder can be made");
        let database = Database::open(&config, dir.path()).await.expect("a new database opens");
        Self { database, config, dir }
    }

    /// How to open the same database again, as after a restart.
    pub const fn config(&self) -> &DatabaseConfig {
        &self.config
    }

    /// The data directory that goes with it.
    pub fn data_dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}

impl Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// Declares tests that tell the same story on SQLite and on PostgreSQL.
///
/// ```ignore
/// both_engines! {
///     async fn a_name_is_taken_once(db: TestDatabase) { … }
/// }
/// ```
#[macro_export]
macro_rules! both_engines {
    ($($(#[$meta:meta])* async fn $name:ident($db:ident: TestDatabase) $body:block)+) => {
        $(
            $(#[$meta])*
            mod $name {
                #[allow(unused_imports, reason = "a story may need nothing around it")]
                use super::*;

                async fn story($db: $crate::testing::TestDatabase) $body

                #[tokio::test]
                async fn on_sqlite() {
                    story($crate::testing::TestDatabase::sqlite().await).await;
                }

                #[tokio::test]
                async fn on_postgres() {
                    story($crate::testing::TestDatabase::postgres().await).await;
                }
            }
        )+
    };
}
