//! Both engines, their statements and what they refuse.

use sqlx::{Executor as _, SqlSafeStr as _};

use super::connection::{Connection as _, EngineConnection};
use super::statement::Registered;
use super::*;
use crate::both_engines;
use crate::clock::Timestamp;
use crate::testing::TestDatabase;

both_engines! {
    async fn every_statement_of_every_store_prepares(db: TestDatabase) {
        let mut reader = db.reader().await.unwrap();
        let mut prepared = 0;
        let mut faults = Vec::new();
        for Registered(statement) in inventory::iter::<Registered> {
            let outcome = match reader.engine() {
                EngineConnection::Sqlite(engine) => {
                    engine.prepare(statement.sqlite.into_sql_str()).await.map(drop)
                }
                EngineConnection::Postgres(engine) => {
                    engine.prepare(statement.postgres.into_sql_str()).await.map(drop)
                }
            };
            if let Err(fault) = outcome {
                faults.push(format!("{}: {fault}", statement.name));
            }
            prepared += 1;
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert!(prepared > 0, "statements register themselves");
    }

    async fn a_transaction_is_undone_unless_committed(db: TestDatabase) {
        let tried = async || {
            let mut reader = db.reader().await.unwrap();
            READ.on(&mut reader).one().await.unwrap().column::<i64>("tried").unwrap()
        };
        let mut dropped = db.begin().await.unwrap();
        assert_eq!(PROBE.on(&mut dropped).bind(5_i64).execute().await.unwrap(), 1);
        drop(dropped);
        assert_eq!(tried().await, 0);

        let mut kept = db.begin().await.unwrap();
        PROBE.on(&mut kept).bind(7_i64).execute().await.unwrap();
        kept.commit().await.unwrap();
        assert_eq!(tried().await, 7);
        db.probe().await.unwrap();
        assert_eq!(tried().await, 7, "a probe leaves nothing behind");
    }

    async fn values_come_back_as_they_went(db: TestDatabase) {
        let mut reader = db.reader().await.unwrap();
        let time = Timestamp::from_micros(1_767_323_045_678_901);
        let row = ECHO.on(&mut reader).bind("نص 🌹").bind(i64::MAX).bind(time).bind(None::<String>).one().await.unwrap();
        assert_eq!(row.column::<String>("words").unwrap(), "نص 🌹");
        assert_eq!(row.column::<i64>("number").unwrap(), i64::MAX);
        assert_eq!(row.column::<Timestamp>("moment").unwrap(), time);
        assert_eq!(row.column::<Option<String>>("empty").unwrap(), None);
        assert!(matches!(row.column::<i64>("absent"), Err(DbError::Statement(_))));
    }

    async fn tables_survive_a_second_start(db: TestDatabase) {
        let mut tx = db.begin().await.unwrap();
        PROBE.on(&mut tx).bind(3_i64).execute().await.unwrap();
        tx.commit().await.unwrap();
        let again = Database::open(db.config(), db.data_dir()).await.unwrap();
        let mut reader = again.reader().await.unwrap();
        assert_eq!(READ.on(&mut reader).one().await.unwrap().column::<i64>("tried").unwrap(), 3);
    }

    async fn writers_wait_for_each_other_instead_of_failing(db: TestDatabase) {
        let database: &Database = &db;
        let write = || {
            let database = database.clone();
            tokio::spawn(async move {
                let mut tx = database.begin().await?;
                READ.on(&mut tx).one().await?;
                PROBE.on(&mut tx).bind(1_i64).execute().await?;
                tx.commit().await
            })
        };
        for writer in (0..32).map(|_| write()).collect::<Vec<_>>() {
            writer.await.unwrap().unwrap();
        }
        let mut reader = db.reader().await.unwrap();
        assert_eq!(READ.on(&mut reader).one().await.unwrap().column::<i64>("tried").unwrap(), 32);
    }
}

#[tokio::test]
async fn sqlite_readers_cannot_write() {
    let db = TestDatabase::sqlite().await;
    let mut reader = db.reader().await.unwrap();
    assert!(PROBE.on(&mut reader).bind(1_i64).execute().await.is_err());
}

#[tokio::test]
async fn a_database_that_is_not_there_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let config = DatabaseConfig {
        url: crate::secret::Secret::new(format!("postgres://nobody@localhost/x?host={}", dir.path().display())),
        acquire_timeout: Duration::from_millis(300),
        ..DatabaseConfig::default()
    };
    assert!(matches!(Database::open(&config, dir.path()).await, Err(DbError::Unavailable(_))));
}

statements! {
    READ = "select tried from probe";
    ECHO = "select cast($1 as text) as words, cast($2 as bigint) as number, cast($3 as bigint) as moment,
        cast($4 as text) as empty";
}
