//! TLS of a server as its clients meet it: `weir` itself speaks it, nobody else gets through, and a new certificate is taken
//! while the server runs.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_tests::http::try_request;
use weir_tests::process::{Exit, Finished, Process, Weir};
use weir_tests::repository;
use weir_tests::wait::wait_until;

use crate::serve::SOON;

fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures/tls").join(name)
}

/// A server whose certificate lies in a folder of its own.
struct Secured {
    process: Process,
    port: u16,
    folder: PathBuf,
}

impl Secured {
    fn start(folder: &Path, change: impl FnOnce(Weir) -> Weir) -> Secured {
        install(folder, "first");
        let weir = Weir::new(["serve", "--listen", "127.0.0.1:0", "--data"]).argument(folder.join("data"));
        let weir = weir.argument("--tls-cert").argument(folder.join("cert.pem"));
        let weir = weir.argument("--tls-key").argument(folder.join("key.pem"));
        let mut process = change(weir).spawn();
        let line = process.wait_for_line(SOON, "serves https://127.0.0.1:");
        let port = line.rsplit(':').next().unwrap().trim().parse().unwrap();
        Secured { process, port, folder: folder.to_owned() }
    }

    /// `weir pipeline list`, trusting this certificate.
    fn list(&self, host: &str, trusted: &str) -> Finished {
        let url = format!("https://{host}:{}", self.port);
        let weir = Weir::new(["pipeline", "list", "--format", "json", "--server", &url, "--token-file"]);
        weir.argument(self.folder.join("data/admin-token")).argument("--ca").argument(fixture(trusted)).finish(SOON)
    }
}

fn install(folder: &Path, name: &str) {
    fs::copy(fixture(&format!("{name}.pem")), folder.join("cert.pem")).unwrap();
    fs::copy(fixture(&format!("{name}-key.pem")), folder.join("key.pem")).unwrap();
}

#[test]
fn a_client_that_trusts_the_certificate_gets_through_and_plain_http_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = Secured::start(dir.path(), |weir| weir);
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(server.list(host, "first.pem").expect_success().stdout.trim(), "[]");
    }
    let stranger = server.list("127.0.0.1", "second.pem").expect(Exit::Code(5));
    assert!(stranger.stderr.contains("certificate"), "{stranger}");
    for (none, why) in
        [("first-key.pem", "there is no certificate in it"), ("gone.pem", "No such file"), ("", "Is a directory")]
    {
        let unusable = server.list("127.0.0.1", none).expect(Exit::Code(2));
        let said = format!("error: cannot take the certificates in {}: {why}", fixture(none).display());
        assert!(unusable.stderr.to_lowercase().contains(&said.to_lowercase()), "{unusable}");
    }
    for path in ["/livez", "/metrics", "/api/v1/pipelines"] {
        let answer = try_request(&format!("127.0.0.1:{}", server.port), "GET", path, &[], b"");
        assert!(answer.is_err(), "{path}: {answer:?}");
    }
    assert_eq!(server.list("127.0.0.1", "first.pem").expect_success().stdout.trim(), "[]");
}

#[test]
fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Secured::start(dir.path(), |weir| weir);
    install(dir.path(), "second");
    wait_until(SOON, "the second certificate is in use", || {
        server.list("127.0.0.1", "second.pem").exit == Exit::Code(0)
    });
    server.list("127.0.0.1", "first.pem").expect(Exit::Code(5));
    fs::write(dir.path().join("key.pem"), "no key").unwrap();
    server.process.wait_for_line(SOON, "the new certificate is not taken, and the one before stays in use");
    server.list("127.0.0.1", "second.pem").expect_success();
    install(dir.path(), "first");
    wait_until(SOON, "the first certificate is in use again", || {
        server.list("127.0.0.1", "first.pem").exit == Exit::Code(0)
    });
}

#[test]
fn whoever_does_not_finish_the_handshake_loses_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let server = Secured::start(dir.path(), |weir| weir.env("WEIR__LIMITS__CONNECTIONS", "1"));
    let mut idle = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    idle.set_read_timeout(Some(SOON)).unwrap();
    // It holds the one place that there is, and then the other client has it.
    assert_eq!(server.list("127.0.0.1", "first.pem").expect_success().stdout.trim(), "[]");
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0, "its connection is closed");
}

#[test]
fn without_tls_no_server_listens_for_other_machines_unless_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let serve = || Weir::new(["serve", "--listen", "0.0.0.0:0", "--data"]).argument(&data);
    let refused = serve().finish(SOON).expect(Exit::Code(3));
    assert!(refused.stderr.contains("give --tls-cert and --tls-key, or listen on 127.0.0.1"), "{refused}");
    assert!(!data.exists(), "nothing was made");
    let mut told = serve().argument("--allow-plain-http").spawn();
    told.wait_for_line(SOON, "can be reached from other machines: token and data are readable on the way");
    told.wait_for_line(SOON, "serves http://0.0.0.0:");
    drop(told);
    install(dir.path(), "first");
    let secured = serve().argument("--tls-cert").argument(dir.path().join("cert.pem"));
    let mut secured = secured.argument("--tls-key").argument(dir.path().join("key.pem")).spawn();
    secured.wait_for_line(SOON, "serves https://0.0.0.0:");
    assert!(!secured.stderr().contains("readable on the way"), "{}", secured.stderr());
}

#[test]
fn files_that_are_no_certificate_are_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    install(dir.path(), "first");
    let serve = |cert: &Path, key: &Path| {
        let weir = Weir::new(["serve", "--listen", "127.0.0.1:0", "--data"]).argument(&data);
        weir.argument("--tls-cert").argument(cert).argument("--tls-key").argument(key).finish(Duration::from_secs(30))
    };
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    for (cert, key) in
        [(&dir.path().join("gone.pem"), &key), (&empty, &key), (&cert, &empty), (&cert, &fixture("second-key.pem"))]
    {
        let refused = serve(cert, key).expect(Exit::Code(3));
        assert!(refused.stderr.starts_with("error: TLS: /"), "{refused}");
    }
    assert!(!data.exists());
    let alone = Weir::new(["serve", "--tls-cert", "cert.pem", "--data"]).argument(&data).finish(SOON);
    assert!(alone.expect(Exit::Code(3)).stderr.contains("`tls_cert` needs `tls_key`"));
}
