//! What a run leaves behind besides its JSON: a page with plots, and a place in a collection of
//! runs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use assert_cmd::Command;

#[test]
fn a_run_leaves_a_page_that_needs_nothing_else_and_a_folder_in_the_collection() {
    let folder = tempfile::tempdir().unwrap();
    let (page, runs) = (folder.path().join("page.html"), folder.path().join("runs"));
    let output = Command::cargo_bin("millrace-loadgen")
        .unwrap()
        .args(["run", "--preset", "p2p", "--rate", "2000", "--duration", "1s", "--quiet"])
        .args(["--no-step-down", "--allow", "rate", "--html"])
        .arg(&page)
        .arg("--record")
        .arg(&runs)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(page.contains("PASS") && page.contains("Host"));
    for outside in ["src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside} leads out of the page");
    }
    let index = std::fs::read_to_string(runs.join("README.md")).unwrap();
    let run = std::fs::read_dir(&runs).unwrap().flatten().find(|entry| entry.path().is_dir()).unwrap().path();
    assert!(index.contains(run.file_name().unwrap().to_str().unwrap()), "{index}");
    for file in ["command.txt", "report.json", "summary.md", "report.html"] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let command = std::fs::read_to_string(run.join("command.txt")).unwrap();
    assert!(command.starts_with("millrace-loadgen run --preset p2p"), "{command}");
}
