//! One throwaway PostgreSQL per test run.
//!
//! The first test process that needs it starts the server, the others of the same run find it. A run is known by the
//! process that started the tests (cargo or nextest); a small watcher stops the server and removes its folder as soon
//! as that process is gone, however it ended. The server listens on a socket in its folder only, so no port is taken.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::OnceCell;

/// Makes an empty database and returns its URL.
pub(super) async fn create_database() -> String {
    static SERVER: OnceCell<PathBuf> = OnceCell::const_new();
    let dir =
        SERVER.get_or_init(|| async { tokio::task::spawn_blocking(server).await.expect("the server starts") }).await;
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let mut connection = administrator(dir).connect().await.expect("the test server answers");
    sqlx::query(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut connection)
        .await
        .expect("a database can be made");
    connection.close().await.expect("the connection closes");
    format!("postgres://postgres@localhost/{name}?host={}", dir.display())
}

fn administrator(dir: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass().socket(dir).username("postgres").database("postgres")
}

/// The folder of this run's server, started if nobody has yet.
fn server() -> PathBuf {
    let dir = PathBuf::from(format!("/tmp/chobi-test-postgres-{}", run_name()));
    fs::create_dir_all(&dir).expect("a temporary folder can be made");
    let lock = File::create(dir.join("lock")).expect("a lock file can be made");
    lock.lock().expect("the lock can be taken");
    if !dir.join("ready").exists() {
        start(&dir);
        fs::write(dir.join("ready"), "").expect("the mark can be written");
    }
    dir
}

/// The process that runs the tests, with its start time so that a reused number is another run.
fn run_name() -> String {
    let runner = parent_id();
    let stat = fs::read_to_string(format!("/proc/{runner}/stat")).unwrap_or_default();
    // Field 22 of proc(5); the name in brackets before it may hold spaces.
    let started = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).unwrap_or("0");
    format!("{runner}-{started}")
}

#[expect(clippy::zombie_processes, reason = "the watcher outlives this process on purpose")]
fn start(dir: &Path) {
    let programs = programs();
    let data = dir.join("data");
    let owner = server_user();
    if let Some((user, group)) = owner {
        chown(dir, Some(user), Some(group)).expect("root may give folders away");
    }
    let made = as_user(owner, &programs.join("initdb"))
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
        .arg(&data)
        .current_dir(dir)
        .output()
        .expect("initdb runs");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

    let server = as_user(owner, &programs.join("postgres"));
    Command::new("sh")
        .args(["-c", WATCHER, "watcher"])
        .arg(parent_id().to_string())
        .arg(dir)
        .arg(server.get_program())
        .args(server.get_args())
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(dir)
        .args([
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "synchronous_commit=off",
            "-c",
            "full_page_writes=off",
        ])
        .args(["-c", "max_connections=300", "-c", "shared_buffers=32MB"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(dir.join("log")).expect("a log file can be made"))
        .process_group(0)
        .spawn()
        .expect("sh runs");
    wait_until_ready(dir, &programs);
}

/// Runs the server as a child, and ends it when the test run is over.
const WATCHER: &str = r#"
runner=$1 dir=$2; shift 2
"$@" & server=$!
while kill -0 "$runner" 2>/dev/null && kill -0 "$server" 2>/dev/null; do sleep 0.2; done
kill -QUIT "$server" 2>/dev/null; wait "$server"
rm -rf "$dir"
"#;

/// Asks the server itself whether it is up, at most half a minute.
fn wait_until_ready(dir: &Path, programs: &Path) {
    for _ in 0..300 {
        let asked = Command::new(programs.join("pg_isready")).arg("-q").arg("-h").arg(dir).status();
        if asked.expect("pg_isready runs").success() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
    panic!("PostgreSQL did not start within 30 s:\n{log}");
}

/// Where `initdb` and `postgres` are: beside each other in PATH, or where Debian puts them.
fn programs() -> PathBuf {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&in_path).collect();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    let complete = |folder: &Path| ["initdb", "postgres", "pg_isready"].iter().all(|name| folder.join(name).exists());
    folders
        .iter()
        .filter_map(|folder| folder.join("initdb").canonicalize().ok()?.parent().map(Path::to_path_buf))
        .find(|folder| complete(folder))
        .expect("PostgreSQL is needed by the tests of the control plane: apt-get install postgresql")
}

/// PostgreSQL refuses to run as root; then it runs as the user its package made.
fn server_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let (user, group) = (id(&["-u", "postgres"]), id(&["-g", "postgres"]));
    Some(user.zip(group).expect("as root, the tests need a user called postgres: apt-get install postgresql"))
}

fn as_user(owner: Option<(u32, u32)>, program: &Path) -> Command {
    let Some((user, group)) = owner else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg(program);
    command
}
