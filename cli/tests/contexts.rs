//! `millrace context`, and what commands take from a context.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use serde_json::Value;
use tempfile::TempDir;

/// Where a user keeps contexts, whom nothing of this host's user reaches.
struct User {
    folder: TempDir,
}

impl User {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("config/millrace/contexts").join(name)
    }

    /// Writes a file by hand, as only its user may write it.
    fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.chmod("", 0o700);
        self.chmod("..", 0o700);
        self.chmod(name, 0o600);
    }

    #[cfg(unix)]
    fn chmod(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[cfg(not(unix))]
    fn chmod(&self, _: &str, _: u32) {}

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("millrace"));
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("MILLRACE_")) {
            command.env_remove(name);
        }
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env("XDG_CONFIG_HOME", self.folder.path().join("config"));
        command.env("XDG_RUNTIME_DIR", self.folder.path().join("run"));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// It succeeds; what it prints.
    fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// It ends with this code, and says all of these.
    fn refused(&self, args: &[&str], code: i32, words: &[&str]) {
        judge(&self.run(args), code, words);
    }

    fn objects(&self, args: &[&str]) -> Vec<Value> {
        self.done(args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn judge(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    for part in words {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
}

/// A router with an admin page, and the file with its authority.
struct Cluster {
    router: RouterHandle,
    ca: PathBuf,
    _folder: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::open(folder.path()).unwrap();
        let mut config = RouterConfig::new(authority.router("one", &[]).unwrap());
        config.name = Some("one".to_owned());
        config.admin = Some("127.0.0.1:0".parse().unwrap());
        let router = Router::start(config).unwrap();
        router.wait_until(Duration::from_secs(60), |seen| seen.status.ready()).unwrap();
        Self { router, ca: authority.ca_path().unwrap().to_owned(), _folder: folder }
    }

    fn addr(&self) -> String {
        self.router.addr().to_string()
    }

    fn admin(&self) -> String {
        format!("http://{}", self.router.admin_addr().unwrap())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.router.stop(Duration::ZERO);
    }
}

const PUB: [&str; 4] = ["pub", "-t", "host=a", "hello"];

#[test]
fn what_is_saved_is_used_from_here_on_until_it_is_removed() {
    let (user, cluster) = (User::new(), Cluster::new());
    fs::copy(&cluster.ca, user.folder.path().join("ca.pem")).unwrap();
    let (addr, admin) = (cluster.addr(), cluster.admin());
    // The path is relative, and every command runs elsewhere.
    let save = ["--router", &addr, "--ca", "ca.pem", "context", "save", "prod", "--admin", &admin];
    user.done(&save);
    user.refused(&save, 2, &["there is a context \"prod\" already", "--update", "--replace"]);
    // Without a context, a client believes routers in dev mode of this user alone.
    judge(&user.run(&PUB), 3, &["--router HOST:PORT --ca FILE"]);
    user.done(&["--context", "prod", "pub", "-t", "host=a", "hello"]);
    user.done(&["context", "use", "prod"]);
    let publish = user.command(&PUB).current_dir("/").output().unwrap();
    assert!(publish.status.success(), "{publish:?}");
    assert!(user.done(&["ctl", "status"]).contains("one"));
    assert!(user.run(&["check", "--only", "ready"]).status.success());
    judge(&user.run(&["--context", "none", "pub", "x"]), 3, &["dev mode"]);
    judge(&user.run(&["--context", "", "pub", "x"]), 3, &["dev mode"]);
    let other = user.command(&PUB).env("MILLRACE_CONTEXT", "none").output().unwrap();
    judge(&other, 3, &["dev mode"]);

    let shown = user.done(&["context", "show"]);
    for part in ["prod (the current one)", &addr, "ca.pem", &admin, "prod.toml"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let listed = user.objects(&["context", "list", "--json"]);
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["schema"], &listed[0]["current"]), (&"millrace.context/1".into(), &true.into()));
    assert_eq!((&listed[0]["name"], &listed[0]["router"]), (&"prod".into(), &addr.into()));
    assert_eq!(listed[0]["admin"], serde_json::json!([admin]));

    let removed = user.objects(&["context", "remove", "prod", "--json"]);
    assert_eq!((&removed[0]["type"], &removed[0]["current"]), (&"removed".into(), &true.into()));
    assert!(!user.file("prod.toml").exists() && user.folder.path().join("ca.pem").exists());
    judge(&user.run(&PUB), 3, &["dev mode"]);
    user.refused(&["context", "show"], 2, &["no context is in use"]);
}

#[test]
fn each_option_counts_from_the_command_line_the_environment_and_the_context() {
    let (user, cluster) = (User::new(), Cluster::new());
    let (addr, ca) = (cluster.addr(), cluster.ca.to_str().unwrap());
    user.write("half.toml", &format!("router = '{addr}'\nca = '/nowhere/of-context.pem'\n"));
    user.done(&["context", "use", "half"]);
    judge(
        &user.run(&PUB),
        3,
        &["/nowhere/of-context.pem", "\"half\" gives --router, --ca here", "half.toml"],
    );
    let by_environment = |ca: &str| user.command(&PUB).env("MILLRACE_CA", ca).output().unwrap();
    judge(
        &by_environment("/nowhere/of-environment.pem"),
        3,
        &["/nowhere/of-environment.pem", "gives --router here"],
    );
    assert!(by_environment(ca).status.success());
    assert!(!by_environment("").status.success(), "an empty variable is none");
    let line = [&["--ca", ca], &PUB[..]].concat();
    let by_line = user.command(&line).env("MILLRACE_CA", "/nowhere/of-environment.pem").output().unwrap();
    assert!(by_line.status.success(), "{by_line:?}");
    // Another router is believed by the context's authority.
    user.write("other.toml", &format!("router = '192.0.2.1'\nca = '{ca}'\nserver_name = 'nobody'\n"));
    user.done(&["--context", "other", "--router", &addr, "pub", "-t", "host=a", "hello"]);
    let mut command = user.command(&PUB);
    command.env("MILLRACE_CONTEXT", "other").env("MILLRACE_ROUTER", &addr);
    assert!(command.output().unwrap().status.success());
}

#[test]
fn whoever_uses_a_context_hears_what_comes_before_it() {
    let user = User::new();
    user.done(&["--router", "a", "--zone", "eu", "context", "save", "eu"]);
    let mut command = user.command(&["context", "use", "eu"]);
    command.env("MILLRACE_ROUTER", "b").env("MILLRACE_CA", "ca.pem").env("MILLRACE_ZONE", "");
    judge(&command.output().unwrap(), 0, &["the current context is eu", "MILLRACE_ROUTER is set here"]);
    let other = user.command(&["context", "use", "eu"]).env("MILLRACE_CONTEXT", "us").output().unwrap();
    judge(&other, 0, &["MILLRACE_CONTEXT=us is set here"]);
}

#[test]
fn a_context_is_changed_copied_and_replaced_when_that_is_meant() {
    let user = User::new();
    let file = |name: &str| fs::read_to_string(user.file(name)).unwrap();
    user.done(&["--router", "a,b;c:1", "--zone", "eu", "--token-file", "t", "context", "save", "one"]);
    let whole = user.folder.path().canonicalize().unwrap().join("t");
    let one = file("one.toml");
    assert!(one.contains("router = \"a:7400,b:7400;c:1\"\n") && one.contains("zone = \"eu\""), "{one}");
    assert!(one.contains(&format!("token_file = \"{}\"\n", whole.display())), "{one}");
    user.done(&["--zone", "us", "context", "save", "one", "--update"]);
    assert_eq!(file("one.toml"), one.replace("\"eu\"", "\"us\""));
    user.done(&["--router", "d", "context", "save", "two", "--from", "one", "--use"]);
    let two = file("two.toml");
    assert!(two.contains("router = \"d:7400\"") && two.contains("zone = \"us\""), "{two}");
    assert_eq!(file("current"), "two\n");
    // A certificate is another identity than a token.
    user.done(&["--cert", "c", "--key", "k", "context", "save", "two", "--update"]);
    let two = file("two.toml");
    assert!(two.contains("cert = ") && two.contains("key = ") && !two.contains("token_file"), "{two}");
    user.done(&["--zone", "x", "context", "save", "two", "--replace"]);
    assert!(file("two.toml").ends_with("\nzone = \"x\"\n") && !file("two.toml").contains("router"));

    user.refused(&["context", "save", "three"], 2, &["nothing is given", "--router HOST --ca FILE"]);
    let by_environment = user.command(&["context", "save", "three"]).env("MILLRACE_ROUTER", "a").output();
    judge(&by_environment.unwrap(), 2, &["not the environment's"]);
    user.refused(&["--zone", "x", "context", "save", "no", "--update"], 2, &["there is no context \"no\""]);
    user.refused(
        &["--zone", "x", "context", "save", "b", "--from", "tow"],
        2,
        &["is it \"two\"?", "one, two"],
    );
    user.refused(&["--zone", "x", "context", "save", "a/b"], 2, &["letters, digits"]);
    user.refused(&["--ca", ".", "context", "save", "b"], 2, &["is no file that a context could name"]);
    user.refused(&["--context", "one", "--zone", "x", "context", "save", "b"], 2, &["--from NAME"]);
    user.refused(
        &["--router", "x", "context", "use", "one"],
        2,
        &["--router is kept by `millrace context save"],
    );
    let names: Vec<Value> = user.objects(&["context", "list", "--json"]);
    assert_eq!(names.iter().map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn mistakes_name_the_file_the_line_and_the_cure() {
    let user = User::new();
    judge(&user.run(&["--context", "prod", "pub", "x"]), 2, &["no context \"prod\"", "There are none."]);
    user.write("prod.toml", "router = 'a'\n");
    user.write("stage.toml", "# by hand\nroutre = 'a'\n");
    user.refused(&["--context", "prd", "pub", "x"], 2, &["is it \"prod\"?", "There are prod, stage"]);
    let variable = user.command(&["pub", "x"]).env("MILLRACE_CONTEXT", "prd").output().unwrap();
    judge(&variable, 2, &["MILLRACE_CONTEXT: there is no context \"prd\""]);
    let broken = ["\"stage\" cannot be used", "stage.toml, line 2: unknown key `routre`; is it `router`?"];
    user.refused(&["--context", "stage", "pub", "x"], 2, &broken);
    user.refused(&["context", "use", "stage"], 2, &broken);
    assert!(!user.file("current").exists());
    let listed = user.run(&["context", "list"]);
    judge(&listed, 0, &broken);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("stage  cannot be used"), "{listed:?}");
    let objects = user.objects(&["context", "list", "--json"]);
    assert!(objects[0]["error"].is_null() && objects[1]["error"].as_str().unwrap().contains("line 2"));

    // A current one that is gone or broken stands in the way of what connects alone.
    user.done(&["context", "use", "prod"]);
    fs::remove_file(user.file("prod.toml")).unwrap();
    let gone = ["the current context \"prod\" is gone", "prod.toml", "context use --none"];
    user.refused(&["pub", "x"], 2, &gone);
    user.refused(&["ctl", "status"], 2, &gone);
    user.refused(&["check"], 3, &gone);
    user.done(&["completions", "bash"]);
    judge(&user.run(&["context", "list"]), 0, &["the current context \"prod\" is gone"]);
    user.write("current", "../prod\n");
    user.refused(&["sub", "*"], 2, &["holds no name of a context", "context use NAME"]);
    user.done(&["context", "use", "--none"]);
    assert!(!user.file("current").exists());
    user.done(&["context", "remove", "stage"]);
    user.refused(&["context", "remove", "stage"], 2, &["there is no context \"stage\""]);
}

#[cfg(unix)]
#[test]
fn files_are_for_their_user_alone_and_refused_when_others_may_write_them() {
    use std::os::unix::fs::PermissionsExt;
    let user = User::new();
    user.done(&["--router", "a", "context", "save", "prod", "--use"]);
    let mode = |name: &str| user.file(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("prod.toml"), mode("current"), mode(""), mode("..")), (0o600, 0o600, 0o700, 0o700));
    for (name, mode, right) in
        [("prod.toml", 0o620, 0o644), ("current", 0o602, 0o644), ("", 0o770, 0o755), ("..", 0o777, 0o700)]
    {
        user.chmod(name, mode);
        let cure = format!("chmod go-w {}", user.file(name).canonicalize().unwrap().display());
        let words = ["send events elsewhere", if name == ".." { "chmod go-w" } else { &cure }];
        user.refused(&["pub", "x"], 2, &words);
        user.refused(&["check"], 3, &words);
        if name.is_empty() {
            user.refused(&["--zone", "x", "context", "save", "prod", "--update"], 2, &words);
        }
        user.chmod(name, right);
        user.done(&["context", "show"]);
    }
}

#[test]
fn a_context_of_another_place_does_not_lead_to_this_host() {
    let user = User::new();
    user.done(&["--router", "192.0.2.1", "context", "save", "far", "--use"]);
    let words = ["the context \"far\" names no admin page", "context save far --update --admin"];
    user.refused(&["ctl", "drain"], 2, &words);
    user.refused(&["top", "--once"], 2, &words);
    user.refused(&["check"], 3, &words);
    // Nobody listens at port 1 of this host.
    user.done(&["context", "save", "far", "--update", "--admin", "http://127.0.0.1:1"]);
    let from = ["http://127.0.0.1:1", "The context \"far\" gives --admin here", "--context none"];
    user.refused(&["ctl", "status"], 3, &from);
    let check = user.run(&["check", "--over", "10ms"]);
    judge(&check, 2, &["The context \"far\" gives --admin here"]);
    user.write("pages.toml", "admin = ['http://127.0.0.1:1']\n");
    user.refused(&["--context", "pages", "pub", "x"], 2, &["\"pages\" names no router"]);
}
