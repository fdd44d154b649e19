//! PostgreSQL for tests: real servers of the version that is installed (Debian: `postgresql`), on Unix sockets or, with a certificate,
//! on loopback too, as a user of little power. Whoever starts one owns it: it ends with its owner's process, however that ends.
//!
//! What goes wrong here panics, and says what is missing: a test that needs a database fails without one.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// Starts a server, says so, and stops it when `$4` ends. Nothing of it holds the files of whoever called.
const KEEPER: &str = r#"
exec 2>"$2/keeper.log"
"$1/pg_ctl" start --silent --wait --timeout 60 --pgdata "$2/data" --log "$2/log" --options "$3" >&2 </dev/null || exit
echo started
exec >&2
if [ "$4" = owner ]; then
    read -r _
    exec "$1/pg_ctl" stop --silent --mode immediate --pgdata "$2/data"
else
    exec flock --exclusive "$2/lease" sh -c '"$1/pg_ctl" stop --silent --mode immediate --pgdata "$2/data"; rm -r "$2/data"' stop "$1" "$2"
fi
"#;

/// Who may come in where there is a certificate: by the network only who is encrypted and knows the password.
const ADMISSION: &str = "local all all trust\nhostssl all all all scram-sha-256\n";

/// Of the user, where one is asked for.
const PASSWORD: &str = "sesame";

/// Whether what a server has acknowledged survives a crash of the machine, or only of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As in earnest.
    Synced,
    /// Faster.
    Unsynced,
}

/// A server of the test's own, empty.
#[derive(Debug)]
pub struct Postgres {
    installed: Installed,
    folder: TempDir,
    durability: Durability,
    /// Where it listens, if it has a certificate.
    ip: Option<Ipv4Addr>,
    keeper: Option<Child>,
}

impl Postgres {
    /// Starts one. Takes a second or so.
    pub fn start(durability: Durability) -> Self {
        let mut server = Self::make(durability, None);
        server.start_again();
        server
    }

    /// Starts one that listens on loopback as well, for those only who come encrypted. It proves itself by this certificate, with its
    /// key, both PEM.
    pub fn start_with_certificate(certificate: &str, key: &str) -> Self {
        // An address of its own and the usual port: nobody else has both.
        let ip = Ipv4Addr::new(127, rand::random_range(1..255), rand::random(), rand::random_range(1..255));
        let mut server = Self::make(Durability::Unsynced, Some(ip));
        let data = server.folder.path().join("data");
        for (name, text) in [("server.crt", certificate), ("server.key", key), ("pg_hba.conf", ADMISSION)] {
            let file = data.join(name);
            fs::write(&file, text).expect("the server's folder takes a file");
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
            server.installed.own(&file);
        }
        server.start_again();
        let password = format!("ALTER USER ahoy PASSWORD '{PASSWORD}'");
        server.installed.sql(server.folder.path(), "postgres", &password);
        server
    }

    fn make(durability: Durability, ip: Option<Ipv4Addr>) -> Self {
        let installed = Installed::find();
        let folder = TempDir::new().expect("there is room for a folder");
        installed.own(folder.path());
        installed.make_data(&folder.path().join("data"));
        Self { installed, folder, durability, ip, keeper: None }
    }

    /// Starts it once more, after [`Self::kill`], on what it has on its disk.
    pub fn start_again(&mut self) {
        assert!(self.keeper.is_none(), "it runs");
        self.keeper = Some(self.installed.keep(self.folder.path(), self.durability, self.ip, "owner"));
    }

    /// Ends all of its processes without any warning.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        self.end();
    }

    /// Halts all of its processes: whoever asks gets no answer, until [`Self::go_on`].
    pub fn halt(&self) {
        self.signal("-STOP");
    }

    /// See [`Self::halt`].
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    /// Makes an empty database.
    pub fn database(&self) -> String {
        self.installed.make_database(self.folder.path(), "")
    }

    /// Makes an empty database, and gives its address by the network, of a server [with a certificate](Self::start_with_certificate)
    /// that has to be this host's. More may be added to it by `&`.
    pub fn database_on(&self, host: &str) -> String {
        let ip = self.ip.expect("it has a certificate");
        let address = self.database();
        let name = address.split(['/', '?']).nth(3).expect("the name stands in the address");
        format!("postgres://ahoy:{PASSWORD}@{host}/{name}?hostaddr={ip}")
    }

    fn signal(&self, signal: &str) {
        let pid_file = fs::read_to_string(self.folder.path().join("data").join("postmaster.pid"));
        let pid = pid_file.expect("it runs").lines().next().expect("a pid stands first").to_owned();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it has children");
        let mut kill = Command::new("kill");
        kill.arg(signal).arg(&pid).args(children.split_whitespace());
        // One of the children may have ended by itself.
        kill.stderr(Stdio::null()).status().expect("`kill` is there");
    }

    fn end(&mut self) {
        let Some(mut keeper) = self.keeper.take() else { return };
        drop(keeper.stdin.take());
        keeper.wait().expect("it is our child");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end();
    }
}

/// A database of the test's own, empty, on a server that all tests of this machine share while any of them runs.
#[derive(Debug)]
pub struct Database {
    address: String,
}

/// The server that tests share. Each of their processes holds the lease.
struct Shared {
    installed: Installed,
    folder: PathBuf,
    _lease: File,
}

impl Database {
    /// Makes one.
    #[expect(clippy::new_without_default, reason = "it is no value but a thing")]
    pub fn new() -> Self {
        Self::with("")
    }

    /// Makes one with options of `CREATE DATABASE`.
    pub(crate) fn with(options: &str) -> Self {
        let shared = Shared::server();
        Self { address: shared.installed.make_database(&shared.folder, options) }
    }

    /// Does something at it that no store does.
    #[cfg(test)]
    pub(crate) fn sql(&self, statement: &str) {
        let Shared { installed, folder, .. } = Shared::server();
        installed.sql(folder, self.name(), statement);
    }

    fn name(&self) -> &str {
        self.address.split(['/', '?']).nth(3).expect("the name stands in the address")
    }

    /// For [`Store::connect`](crate::Store::connect).
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Shared { installed, folder, .. } = Shared::server();
        installed.sql(folder, "postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name()));
    }
}

impl Shared {
    /// The server, which is started when nobody has yet.
    fn server() -> &'static Self {
        static SHARED: OnceLock<Shared> = OnceLock::new();
        SHARED.get_or_init(|| {
            let installed = Installed::find();
            let folder = installed.shared_folder();
            let lease = open(&folder.join("lease"));
            lease.lock_shared().expect("the lease can be held");
            // One at a time looks whether it runs. Whoever ends it has waited for all leases, and holds up those that come after.
            let start = open(&folder.join("start"));
            start.lock().expect("nobody starts for ever");
            if !installed.is_running(&folder) {
                installed.copy_data(&folder);
                // It ends with the last lease, not with us.
                drop(installed.keep(&folder, Durability::Unsynced, None, "lease"));
            }
            Self { installed, folder, _lease: lease }
        })
    }
}

fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// PostgreSQL as it is installed, and as whom it runs.
#[derive(Debug)]
struct Installed {
    version: u32,
    binaries: PathBuf,
    /// Not root: PostgreSQL refuses to run as that.
    user: (u32, u32),
}

impl Installed {
    fn find() -> Self {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let versions =
            versions.filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path())));
        let (version, path) = versions.max().expect("PostgreSQL is installed (`cargo xtask test` does it)");
        let ours = fs::metadata("/proc/self").expect("a process knows itself");
        let user = if ours.uid() == 0 { user("postgres") } else { (ours.uid(), ours.gid()) };
        Self { version, binaries: path.join("bin"), user }
    }

    /// A program of it, as its user.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let ours = fs::metadata("/proc/self").expect("a process knows itself").uid();
        if ours != self.user.0 {
            command.uid(self.user.0).gid(self.user.1);
        }
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Lets the folder belong to the server.
    fn own(&self, folder: &Path) {
        chown(folder, Some(self.user.0), Some(self.user.1)).expect("a folder of ours can be given away");
    }

    fn make_data(&self, at: &Path) {
        let mut command = self.command(&self.binaries.join("initdb"));
        command.args(["--auth=trust", "--username=ahoy", "--no-sync", "--no-instructions", "--encoding=UTF8"]);
        // Its order of text is another than that of bytes, so that who relies on the latter has to say so.
        command.args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en", "--pgdata"]).arg(at);
        run(&mut command);
    }

    /// Where the shared server lives. Everything in it was there before it had its name.
    fn shared_folder(&self) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("ahoy-postgres-{}-{}", self.version, self.user.0));
        if !folder.exists() {
            let fresh = TempDir::new().expect("there is room for a folder");
            let inner = fresh.path().join("shared");
            DirBuilder::new().mode(0o700).create(&inner).expect("a folder of ours takes another");
            for file in ["lease", "start"] {
                File::create(inner.join(file)).expect("a folder of ours takes a file");
                self.own(&inner.join(file));
            }
            self.own(&inner);
            self.own(fresh.path());
            self.make_data(&inner.join("fresh"));
            // Somebody else may have been quicker, and theirs is as good.
            if fs::rename(&inner, &folder).is_err() {
                assert!(folder.exists(), "{} can't be made", folder.display());
            }
        }
        let found = fs::metadata(&folder).expect("it was there a moment ago");
        let is_safe = found.uid() == self.user.0 && found.mode() & 0o077 == 0;
        assert!(is_safe, "{} belongs to somebody else", folder.display());
        folder
    }

    /// Puts fresh data in the place of what an earlier server may have left.
    fn copy_data(&self, folder: &Path) {
        _ = fs::remove_dir_all(folder.join("data"));
        run(self.command(Path::new("cp")).arg("-a").arg(folder.join("fresh")).arg(folder.join("data")));
    }

    fn is_running(&self, folder: &Path) -> bool {
        let mut status = self.command(&self.binaries.join("pg_ctl"));
        status
            .args(["status", "--silent", "--pgdata"])
            .arg(folder.join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        status.status().expect("pg_ctl is installed").success()
    }

    /// Starts a server and waits until it takes connections.
    fn keep(&self, folder: &Path, durability: Durability, ip: Option<Ipv4Addr>, until: &str) -> Child {
        let mut options = format!(
            "-c listen_addresses={} -c unix_socket_directories={} -c max_connections=500 -c shared_buffers=64MB",
            ip.map(|ip| ip.to_string()).unwrap_or_default(),
            folder.display()
        );
        if ip.is_some() {
            options += " -c ssl=on";
        }
        if durability == Durability::Unsynced {
            options += " -c fsync=off -c full_page_writes=off";
        }
        let mut keeper = self.command(Path::new("sh"));
        keeper.args(["-c", KEEPER, "keeper"]).arg(&self.binaries).arg(folder).arg(options).arg(until);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C is for us; the keeper sees us go.
        let mut keeper = keeper.process_group(0).spawn().expect("`sh` is there");
        let mut line = String::new();
        let said = BufReader::new(keeper.stdout.take().expect("it is piped")).read_line(&mut line);
        if said.is_err() || line != "started\n" {
            let log = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
            panic!("PostgreSQL does not start: {}{}", log("keeper.log"), log("log"));
        }
        keeper
    }

    /// Makes an empty database, and gives its address.
    fn make_database(&self, folder: &Path, options: &str) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        self.sql(folder, "postgres", &format!("CREATE DATABASE {name} {options}"));
        format!("postgres:///{name}?user=ahoy&host={}", folder.display())
    }

    fn sql(&self, folder: &Path, database: &str, statement: &str) {
        let mut psql = self.command(&self.binaries.join("psql"));
        psql.args([
            "--quiet",
            "--no-psqlrc",
            "--username=ahoy",
            "--dbname",
            database,
            "--command",
            statement,
            "--host",
        ]);
        run(psql.arg(folder));
    }
}

/// Runs a program that has to succeed, and to say nothing.
fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
}

/// Numbers of a user and its group.
fn user(name: &str) -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("there are users");
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name);
    let number = |index: usize| fields.as_ref().and_then(|fields| fields.get(index)?.parse().ok());
    number(2).zip(number(3)).unwrap_or_else(|| panic!("there is no user {name}, whom PostgreSQL's package makes"))
}
